"""Variational autoencoder: a nonlinear latent variable model with an amortised Gaussian guide.

    z ~ Normal(0, I)          the code, z in R^latent_dim
    x ~ p(x | decoder(z))     data_dim pixels, independent given z

The guide is amortised: one network gives q(z | x) = Normal(mu(x), diag sigma(x)^2) for every x. The reparametrised
draw z = mu(x) + sigma(x) * eps, eps ~ Normal(0, I), carries the gradient of the ELBO to that network.
`FullCovarianceVAE` has q(z | x) = Normal(mu(x), L(x) L(x)') instead.

The likelihood has to match the support of the pixels. A Bernoulli is a probability on {0, 1}: on grey pixels it is not
a density, and its "ELBO" bounds nothing. Grey pixels take the continuous Bernoulli, a density on [0, 1] whose mean
differs from its parameter. The log of a density may be positive, and so may this ELBO. On images that are mostly black
its value depends on the largest logit that the decoder may reach. Published values have the limit that float32 puts on
the probability; here it is a constant (`MAX_LOGIT` in `_distributions.py`).

In training mode: each hidden unit is dropped with probability `dropout`.
In evaluation mode: no unit is dropped.

    >>> import torch
    >>> from pyro import poutine
    >>> pair, x = VAE(data_dim=6, latent_dim=2, hidden=(8,)), torch.ones(5, 6)
    >>> poutine.trace(pair.guide).get_trace(x).nodes["z"]["value"].shape
    torch.Size([5, 2])

    Kingma and Welling, Auto-Encoding Variational Bayes, 2014.
    Loaiza-Ganem and Cunningham, The continuous Bernoulli: fixing a pervasive error in VAEs, 2019.
"""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from gallery.models._nn import ACTIVATIONS, Activation, CholeskyHead, GaussianHead, Likelihood, PixelHead, mlp

__all__ = ["VAE", "FullCovarianceVAE"]


class VAE(nn.Module):
    """x: (n, data_dim); z: (n, latent_dim).

    >>> import torch
    >>> from inference import evaluate
    >>> pair, x = VAE(data_dim=6, latent_dim=2, hidden=(8,)), torch.ones(5, 6)
    >>> evaluate(pair, x)["elbo"]["unit"]
    'nats per data point'

    :param data_dim: number of pixels
    :param latent_dim: length of the code z
    :param hidden: widths of the encoder's hidden layers; the decoder has them in reverse
    :param dropout: probability of dropping a hidden unit in training mode
    :param likelihood: p(x | z) of a pixel: bernoulli for {0, 1}, continuous_bernoulli for [0, 1], gaussian
    :param scale: standard deviation of the Gaussian likelihood; learned if None
    :param activation: of the hidden layers: relu or tanh
    :raises ValueError: if the likelihood is unknown or the scale is not positive
    """

    head: type[nn.Module] = GaussianHead  # of the encoder

    def __init__(
        self,
        data_dim: int = 784,
        latent_dim: int = 20,
        hidden: Sequence[int] = (500, 500),
        dropout: float = 0.1,
        likelihood: Likelihood = "bernoulli",
        scale: float | None = None,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.encoder = nn.Sequential(
            mlp((data_dim, *hidden), ACTIVATIONS[activation], dropout),
            self.head(hidden[-1], latent_dim),
        )
        self.decoder = nn.Sequential(
            mlp((latent_dim, *reversed(hidden)), ACTIVATIONS[activation], dropout),
            PixelHead(hidden[0], data_dim, likelihood, scale),
        )

    def prior(self, x: Tensor) -> dist.TorchDistribution:
        """Return Normal(0, I), batch shape (n,)."""
        zero = x.new_zeros(len(x), self.latent_dim)
        return dist.Normal(zero, zero + 1).to_event(1)

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", self.prior(x))  # (n, latent_dim)
            pyro.sample("x", self.decoder(z), obs=x)  # (n, data_dim)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", self.encoder(x))


class FullCovarianceVAE(VAE):
    """x: (n, data_dim); z: (n, latent_dim). The guide has a full covariance matrix for each x, by its Cholesky factor.
    It starts with a diagonal one.

    KL(q(z | x) || p(z)) = (tr Sigma + mu' mu - latent_dim - log det Sigma) / 2, of which the diagonal guide has the
    case of a diagonal Sigma.
    """

    head = CholeskyHead

    def prior(self, x: Tensor) -> dist.TorchDistribution:
        """Return Normal(0, I), batch shape (n,), of the kind to which a full normal has a KL in closed form."""
        zero = x.new_zeros(len(x), self.latent_dim)
        return dist.MultivariateNormal(zero, scale_tril=torch.eye(self.latent_dim, dtype=x.dtype, device=x.device))
