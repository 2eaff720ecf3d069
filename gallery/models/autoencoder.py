"""Autoencoder: a code and its decoder, without a posterior.

    z ~ flat                  the code, z in R^latent_dim: any z is as good as any other
    x ~ p(x | decoder(z))     data_dim pixels, independent given z

The guide is a point, q(z | x) = Delta(encoder(x)). A point has no entropy and a flat prior, a Normal whose density is
masked out, no preference, so -ELBO is the reconstruction loss -log p(x | z) and nothing else. It bounds no evidence:
log p(x) is undefined under a flat prior. With the Normal(0, I) unmasked -ELBO is -log p(x, z), and the encoder learns
the MAP code: ``MaximumAPosteriori``.

The Gaussian likelihood has mean sigmoid(decoder(z)) and a fixed scale, with which

    -log p(x | z) = |x - mean|^2 / (2 scale^2) + data_dim log(scale sqrt(2 pi)).

At the default, scale = sqrt(1/2), that is the squared error summed over pixels with weight 1, or the mean squared
error with weight data_dim, and a constant. A smaller scale weighs the error more against a prior or a penalty; with
neither it changes nothing but the unit.

Sparse, k-sparse, denoising and contractive autoencoders are this model under another guide, a file each.

    Rumelhart, Hinton and Williams, Learning representations by back-propagating errors, 1986.
    Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks, 2006.
"""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from gallery.models._nn import Likelihood, PixelHead, mlp

__all__ = ["Autoencoder", "MaximumAPosteriori"]


class Autoencoder(nn.Module):
    """x: (n, data_dim) in [0, 1]. The code is ReLU(A x + a), the mean of a pixel a sigmoid.

    :param data_dim: pixels of an image
    :param latent_dim: length of the code z
    :param likelihood: p(x | z) of a pixel: gaussian, bernoulli for {0, 1}, continuous_bernoulli for [0, 1]
    :param scale: standard deviation of the Gaussian likelihood; the summed squared error weighs 1 / (2 scale^2)
    """

    bounds = (0.0, 1.0)  # of a pixel, as of its mean
    activation: type[nn.Module] = nn.ReLU  # of the encoder
    hidden: Sequence[int] = ()  # layers between pixels and code: none, but in the variants called deep

    def __init__(
        self,
        data_dim: int = 784,
        latent_dim: int = 144,
        likelihood: Likelihood = "gaussian",
        scale: float = 0.5**0.5,
    ):
        super().__init__()
        self.latent_dim = latent_dim
        sizes = (data_dim, *self.hidden, latent_dim)
        self.encoder = mlp(sizes, self.activation)
        self.decoder = nn.Sequential(
            mlp(sizes[:0:-1]), PixelHead(sizes[1], data_dim, likelihood, float(scale), bounded=True)
        )

    def prior(self, x: Tensor) -> dist.Distribution:
        zero = x.new_zeros(len(x), self.latent_dim)
        return dist.Normal(zero, zero + 1).to_event(1).mask(False)  # flat

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", self.prior(x))  # (n, latent_dim)
            pyro.sample("x", self.decoder(z), obs=x)  # (n, data_dim)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Delta(self.encoder(x), event_dim=1))


class MaximumAPosteriori(Autoencoder):
    """x: (n, data_dim). The prior of the code is Normal(0, I): -ELBO is reconstruction loss plus |z|^2 / 2 + const."""

    def prior(self, x: Tensor) -> dist.Distribution:
        return super().prior(x).base_dist
