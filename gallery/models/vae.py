"""Variational autoencoder.

    z ~ Normal(0, I)          the code, z in R^latent_dim
    x ~ p(x | decoder(z))     data_dim pixels, independent given z

The guide is amortised: one network, q(z | x) = Normal(mu(x), diag sigma(x)^2), serves every x, and the
reparametrised draw z = mu(x) + sigma(x) * eps lets the gradient of the ELBO reach it.

The likelihood has to fit the pixels. A Bernoulli is a probability on {0, 1} only: put on grey pixels it is not a
density, and its "ELBO" bounds nothing. Grey pixels take the continuous Bernoulli, a density on [0, 1], whose
mean is not its parameter. The log of a density may be positive, and so may the ELBO. How high it gets on images that
are black for the most part depends on how large a logit may be, which published numbers leave to the arithmetic
(`BOUND` in `_nn.py`).

    Kingma and Welling, Auto-Encoding Variational Bayes, 2014.
    Loaiza-Ganem and Cunningham, The continuous Bernoulli: fixing a pervasive error in VAEs, 2019.
"""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from gallery.models._nn import ACTIVATIONS, Activation, GaussianHead, Likelihood, PixelHead, mlp

__all__ = ["VAE"]


class VAE(nn.Module):
    """x: (n, data_dim).

    :param data_dim: pixels of an image
    :param latent_dim: length of the code z
    :param hidden: widths of the encoder's hidden layers; the decoder has them in reverse
    :param dropout: probability of dropping a hidden unit during training
    :param likelihood: p(x | z) of a pixel: bernoulli for {0, 1}, continuous_bernoulli for [0, 1], gaussian
    :param scale: standard deviation of the Gaussian likelihood; learned if not given
    :param activation: of the hidden layers: relu or tanh
    """

    def __init__(
        self,
        data_dim: int = 784,
        latent_dim: int = 20,
        hidden: Sequence[int] = (500, 500),
        dropout: float = 0.1,
        likelihood: Likelihood = "bernoulli",
        scale: float | None = None,
        activation: Activation = "relu",
    ):
        super().__init__()
        self.latent_dim = latent_dim
        layers = {"activation": ACTIVATIONS[activation], "dropout": dropout}
        self.encoder = nn.Sequential(mlp((data_dim, *hidden), **layers), GaussianHead(hidden[-1], latent_dim))
        self.decoder = nn.Sequential(
            mlp((latent_dim, *reversed(hidden)), **layers),
            PixelHead(hidden[0], data_dim, likelihood, scale),
        )

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            zero = x.new_zeros(len(x), self.latent_dim)
            z = pyro.sample("z", dist.Normal(zero, zero + 1).to_event(1))  # (n, latent_dim)
            pyro.sample("x", self.decoder(z), obs=x)  # (n, data_dim)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", self.encoder(x))
