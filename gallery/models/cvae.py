"""Conditional variational autoencoder: a VAE of images given their class.

    z ~ Normal(A y + a, softplus(B y + b))    the code given the class y, one-hot
    x ~ p(x | decoder(z, y))                  data_dim pixels, independent given z and y

Nothing is said about p(y): the class is what the model conditions on. The guide q(z | x, y) reads it as well.
With a prior that depends on y the classes may live in different places of the latent space; ``StandardCVAE``
keeps Normal(0, I), so that z is independent of y and carries what the class does not say: style.

    Sohn, Lee and Yan, Learning structured output representation using deep conditional generative models, 2015.
"""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from gallery.models._nn import GaussianHead, Likelihood, PixelHead, mlp

__all__ = ["CVAE", "StandardCVAE"]


class StandardCVAE(nn.Module):
    """x: (n, data_dim); given: (n,), the classes as integers. The prior of z does not depend on the class.

    :param data_dim: pixels of an image
    :param classes: number of classes
    :param latent_dim: length of the code z
    :param hidden: widths of the encoder's hidden layers; the decoder has them in reverse
    :param dropout: probability of dropping a hidden unit during training
    :param likelihood: p(x | z, y) of a pixel: bernoulli for {0, 1}, continuous_bernoulli for [0, 1], gaussian
    :param scale: standard deviation of the Gaussian likelihood; learned if not given
    """

    def __init__(
        self,
        data_dim: int = 784,
        classes: int = 10,
        latent_dim: int = 20,
        hidden: Sequence[int] = (500, 500),
        dropout: float = 0.1,
        likelihood: Likelihood = "bernoulli",
        scale: float | None = None,
    ):
        super().__init__()
        self.classes, self.latent_dim = classes, latent_dim
        self.encoder = nn.Sequential(
            mlp((data_dim + classes, *hidden), dropout=dropout), GaussianHead(hidden[-1], latent_dim)
        )
        self.decoder = nn.Sequential(
            mlp((latent_dim + classes, *reversed(hidden)), dropout=dropout),
            PixelHead(hidden[0], data_dim, likelihood, scale),
        )

    def one_hot(self, given: Tensor, x: Tensor) -> Tensor:
        return torch.eye(self.classes, dtype=x.dtype, device=x.device)[given]  # (n, classes)

    def prior(self, y: Tensor) -> dist.Distribution:
        zero = y.new_zeros(len(y), self.latent_dim)
        return dist.Normal(zero, zero + 1).to_event(1)

    def model(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        pyro.module("decoder", self.decoder)
        y = self.one_hot(given, x)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", self.prior(y))  # (n, latent_dim)
            pyro.sample("x", self.decoder(torch.cat([z, y], dim=-1)), obs=x)  # (n, data_dim)

    def guide(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        y = self.one_hot(given, x)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", self.encoder(torch.cat([x, y], dim=-1)))


class CVAE(StandardCVAE):
    __doc__ = StandardCVAE.__doc__.replace("does not depend on the class", "is learned, one Normal for each class")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.conditional_prior = GaussianHead(self.classes, self.latent_dim)

    def prior(self, y: Tensor) -> dist.Distribution:
        pyro.module("prior", self.conditional_prior)
        return self.conditional_prior(y)
