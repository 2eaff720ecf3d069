"""Conditional variational autoencoder: a VAE of images given their class.

    z ~ Normal(A y + a, softplus(B y + b))    the code given the class y, one-hot
    x ~ p(x | decoder(z, y))                  data_dim pixels, independent given z and y

The model conditions on the class y and has no p(y). The guide q(z | x, y) is amortised over x and y. With a prior that
depends on y, the classes may occupy different regions of the latent space. ``StandardCVAE`` has the prior Normal(0, I)
instead, so that z is independent of y and carries style: what varies within a class. ``ZGivenY`` has a decoder of z
alone, so that z has to carry the class too.

In training mode: each hidden unit is dropped with probability `dropout`.
In evaluation mode: no unit is dropped.

    >>> import torch
    >>> from pyro import poutine
    >>> pair, x, labels = CVAE(data_dim=6, classes=3, latent_dim=2, hidden=(8,)), torch.ones(5, 6), torch.arange(5) % 3
    >>> poutine.trace(pair.guide).get_trace(x, labels).nodes["z"]["value"].shape
    torch.Size([5, 2])

    Sohn, Lee and Yan, Learning structured output representation using deep conditional generative models, 2015.
"""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from gallery.models._nn import GaussianHead, Likelihood, PixelHead, mlp

__all__ = ["CVAE", "StandardCVAE", "ZGivenY"]


class CVAE(nn.Module):
    """x: (n, data_dim); given: (n,), the classes as integers. The prior of z is learned, one Normal for each class.

    z: (n, latent_dim).

    >>> import torch
    >>> from inference import sample
    >>> pair, labels = CVAE(data_dim=6, classes=3, latent_dim=2, hidden=(8,)), torch.arange(5) % 3
    >>> sample(pair, torch.zeros(1, 6), n=5, given=labels)["mean"].shape
    torch.Size([5, 6])

    :param data_dim: number of pixels
    :param classes: number of classes
    :param latent_dim: length of the code z
    :param hidden: widths of the encoder's hidden layers; the decoder has them in reverse
    :param dropout: probability of dropping a hidden unit in training mode
    :param likelihood: p(x | z, y) of a pixel: bernoulli for {0, 1}, continuous_bernoulli for [0, 1], gaussian
    :param scale: standard deviation of the Gaussian likelihood; learned if None
    :raises ValueError: if the likelihood is unknown or the scale is not positive
    """

    decodes_class = True  # whether the decoder reads y

    def __init__(
        self,
        data_dim: int = 784,
        classes: int = 10,
        latent_dim: int = 20,
        hidden: Sequence[int] = (500, 500),
        dropout: float = 0.1,
        likelihood: Likelihood = "bernoulli",
        scale: float | None = None,
    ) -> None:
        super().__init__()
        self.classes, self.latent_dim = classes, latent_dim
        self.encoder = nn.Sequential(
            mlp((data_dim + classes, *hidden), dropout=dropout), GaussianHead(hidden[-1], latent_dim)
        )
        self.decoder = nn.Sequential(
            mlp((latent_dim + self.decodes_class * classes, *reversed(hidden)), dropout=dropout),
            PixelHead(hidden[0], data_dim, likelihood, scale),
        )
        self.build_prior()

    def build_prior(self) -> None:
        """Create the network of the prior."""
        self.conditional_prior = GaussianHead(self.classes, self.latent_dim)

    def prior(self, y: Tensor) -> dist.TorchDistribution:
        """Return p(z | y), batch shape (n,), for y of (n, classes)."""
        pyro.module("prior", self.conditional_prior)
        return self.conditional_prior(y)

    def one_hot(self, given: Tensor, x: Tensor) -> Tensor:
        """Return the classes one-hot, (n, classes), with dtype and device of x."""
        return torch.eye(self.classes, dtype=x.dtype, device=x.device)[given]

    def model(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        pyro.module("decoder", self.decoder)
        y = self.one_hot(given, x)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", self.prior(y))  # (n, latent_dim)
            code = torch.cat([z, y], dim=-1) if self.decodes_class else z
            pyro.sample("x", self.decoder(code), obs=x)  # (n, data_dim)

    def guide(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        y = self.one_hot(given, x)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", self.encoder(torch.cat([x, y], dim=-1)))


class StandardCVAE(CVAE):
    """x: (n, data_dim); given: (n,), the classes as integers. The prior of z does not depend on the class.

    z: (n, latent_dim).
    """

    def build_prior(self) -> None:
        """Create nothing: the prior is fixed."""

    def prior(self, y: Tensor) -> dist.TorchDistribution:
        """Return Normal(0, I), batch shape (n,)."""
        zero = y.new_zeros(len(y), self.latent_dim)
        return dist.Normal(zero, zero + 1).to_event(1)


class ZGivenY(CVAE):
    """x: (n, data_dim); given: (n,), the classes as integers. The prior depends on the class, the decoder does not.

    x depends on y through z only, as in the Gaussian mixture VAE, whose component is the class here and known.

    z: (n, latent_dim).
    """

    decodes_class = False
