"""Autoencoder: a code and its decoder, without a posterior.

    z ~ flat                  the code, z in R^latent_dim: an improper, constant prior
    x ~ p(x | decoder(z))     data_dim pixels, independent given z

The guide is a point, q(z | x) = Delta(encoder(x)). A point has no entropy, and the flat prior (a Normal whose density
is masked out) contributes nothing, so -ELBO is exactly the reconstruction loss -log p(x | z). It bounds no evidence:
log p(x) is undefined under a flat prior. With Normal(0, I) as the prior -ELBO is -log p(x, z), and the encoder learns
the MAP code: ``MaximumAPosteriori``.

The Gaussian likelihood has mean sigmoid(decoder(z)) and a fixed scale, with which

    -log p(x | z) = |x - mean|^2 / (2 scale^2) + data_dim log(scale sqrt(2 pi)).

At the default, scale = sqrt(1/2), that is the squared error summed over pixels with weight 1 (the mean squared error
with weight data_dim) and a constant. A smaller scale gives the error more weight against a prior or a penalty; with
neither it changes only the unit of the loss.

Sparse, k-sparse, denoising and contractive autoencoders are this model under another guide, one file each.

    >>> import torch
    >>> from pyro.infer import Trace_ELBO
    >>> pair, x = Autoencoder(data_dim=6, latent_dim=2), torch.rand(5, 6)
    >>> reconstruction_loss = -pair.decoder(pair.encoder(x)).log_prob(x).sum().item()
    >>> abs(Trace_ELBO().loss(pair.model, pair.guide, x) - reconstruction_loss) < 1e-3
    True

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
    """x: (n, data_dim) in [0, 1]; z: (n, latent_dim). The code is ReLU(A x + a), the mean of a pixel a sigmoid.

    :param data_dim: number of pixels
    :param latent_dim: length of the code z
    :param likelihood: p(x | z) of a pixel: gaussian, bernoulli for {0, 1}, continuous_bernoulli for [0, 1]
    :param scale: standard deviation of the Gaussian likelihood; the summed squared error has weight 1 / (2 scale^2)
    :raises ValueError: if the likelihood is unknown or the scale is not positive
    """

    bounds = (0.0, 1.0)  # of a pixel and of its mean
    activation: type[nn.Module] = nn.ReLU  # of the encoder
    hidden: Sequence[int] = ()  # layers between pixels and code: none, except in the variants called Deep

    def __init__(
        self,
        data_dim: int = 784,
        latent_dim: int = 144,
        likelihood: Likelihood = "gaussian",
        scale: float = 0.5**0.5,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        sizes = (data_dim, *self.hidden, latent_dim)
        self.encoder = mlp(sizes, self.activation)
        self.decoder = nn.Sequential(
            mlp(sizes[:0:-1]), PixelHead(sizes[1], data_dim, likelihood, float(scale), bounded=True)
        )

    def prior(self, x: Tensor) -> dist.TorchDistribution:
        """Return the flat prior of z, batch shape (n,): a Normal whose density is masked out."""
        zero = x.new_zeros(len(x), self.latent_dim)
        return dist.Normal(zero, zero + 1).to_event(1).mask(False)

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
    """x: (n, data_dim). The prior of the code is Normal(0, I): -ELBO is reconstruction loss plus |z|^2 / 2 + const.

    z: (n, latent_dim).
    """

    def prior(self, x: Tensor) -> dist.TorchDistribution:
        """Return Normal(0, I), batch shape (n,)."""
        return super().prior(x).base_dist
