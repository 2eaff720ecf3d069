"""Gaussian mixture variational autoencoder: a discrete cause above a continuous code.

    y ~ Uniform over the components, one-hot       the component
    z ~ Normal(A y + a, softplus(B y + b))         the code given the component, z in R^latent_dim
    x ~ Bernoulli(decoder(z))                      data_dim pixels; x sees y through z only

Nobody says which y an image has: the components are found, and need not be the classes. The guide is
q(y | x) q(z | x, y), and the ELBO

    sum_y q(y | x) [log p(y) + log p(z_y | y) + log p(x | z_y) - log q(y | x) - log q(z_y | x, y)],  z_y ~ q(z | x, y).

A drawn y could not be reparametrised, and its gradient would be all noise; but y takes few values, so the sum is taken
exactly: the site y is marked for enumeration, Pyro runs guide and model with every y at once, along a new dimension to
the left, and there is one z for each (y, x). That costs `components` decodings of each image and leaves no noise of y.
The bound has log p(y) = -ln components in it; the tutorial's numbers have not, and are higher by ln 10 = 2.303.

`Relaxed` draws y from a Gumbel-Softmax (concrete) distribution on the simplex instead, in model and guide, over the
same weights: one decoding, and a gradient through y, of a bound for another model, the relaxed one. So y is relaxed
in training mode only. In evaluation mode it is this model, with y summed out, and the bound is this model's. It can
collapse: at temperature 1/2 the recipe ends with every image in one component (README has the number in use).
`CategoricalKL` keeps the draw but takes KL(q(y | x) || p(y)) of the categorical distributions, in closed form, where
`Relaxed` samples that of the relaxed ones, whose densities are others: less noise, and a bound for no model at all.

    Yang Zhi-Han, Training latent variable models with auto-encoding variational Bayes: a tutorial, 2022.
    Jang, Gu and Poole, Categorical reparameterization with Gumbel-Softmax, 2017.
    Maddison, Mnih and Teh, The concrete distribution, 2017.
"""

import math
from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.distributions.relaxed_categorical import ExpRelaxedCategorical

from gallery.models._nn import GaussianHead, PairEncoder, PixelHead, mlp

__all__ = ["GMVAE", "CategoricalKL", "Relaxed"]


class GMVAE(nn.Module):
    """x: (n, data_dim), in {0, 1}. The component is summed out.

    :param data_dim: pixels of an image
    :param components: number of components
    :param latent_dim: length of the code z
    :param hidden: widths of the hidden layers of the guide; the decoder has them in reverse
    """

    def __init__(
        self, data_dim: int = 784, components: int = 10, latent_dim: int = 64, hidden: Sequence[int] = (512, 512)
    ):
        super().__init__()
        self.components = components
        self.prior = GaussianHead(components, latent_dim)
        self.decoder = nn.Sequential(mlp((latent_dim, *reversed(hidden))), PixelHead(hidden[0], data_dim, "bernoulli"))
        self.classifier = nn.Sequential(mlp((data_dim, *hidden)), nn.Linear(hidden[-1], components))
        self.encoder = PairEncoder(data_dim, components, hidden, latent_dim)
        for name, parameter in self.named_parameters():
            nn.init.zeros_(parameter) if name.endswith("bias") else nn.init.xavier_normal_(parameter)

    def component(self, logits: Tensor) -> Tensor:
        """y, one-hot: every one, (components, 1, components), under enumeration; else a draw, (n, components)."""
        return pyro.sample("y", dist.OneHotCategorical(logits=logits), infer={"enumerate": "parallel"})

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("prior", self.prior)
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            y = self.component(x.new_zeros(len(x), self.components))
            z = pyro.sample("z", self.prior(y))  # ([components,] n, latent_dim)
            pyro.sample("x", self.decoder(z), obs=x)  # (n, data_dim)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("classifier", self.classifier)
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            y = self.component(self.classifier(x))
            pyro.sample("z", self.encoder(x, y))


class GumbelSoftmax(ExpRelaxedCategorical, TorchDistributionMixin):
    """Of the logarithm of a point of the simplex: as near its corners as a sure guide draws, the point itself is not to
    be told from them in floating point, and its log-density has no gradient. A KL is the same in either."""


class Relaxed(GMVAE):
    """x: (n, data_dim), in {0, 1}. In training mode the component is a point of the simplex.

    :param temperature: of the relaxation; the components are one-hot as it goes to 0
    """

    capabilities = ("temperature",)

    def __init__(self, *args, temperature: float = 0.5, **kwargs):
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature is positive and finite, not {temperature}.")
        super().__init__(*args, **kwargs)
        self.register_buffer("temperature", torch.tensor(temperature), persistent=False)

    def component(self, logits: Tensor) -> Tensor:
        if not self.training:
            return super().component(logits)
        return pyro.sample("y", GumbelSoftmax(self.temperature, logits=logits)).exp()


class CategoricalKL(Relaxed):
    """x: (n, data_dim), in {0, 1}. As Relaxed, with the KL of the categorical distributions of the component."""

    def component(self, logits: Tensor) -> Tensor:
        if not self.training:
            return super().component(logits)
        return pyro.sample("y", GumbelSoftmax(self.temperature, logits=logits).mask(False)).exp()

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("classifier", self.classifier)
        pyro.module("encoder", self.encoder)
        logits = self.classifier(x)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", self.encoder(x, self.component(logits)))
            if self.training:  # a factor of a guide enters the ELBO with a minus
                log_q = logits.log_softmax(-1)
                kl = (log_q.exp() * log_q).sum(-1) + math.log(self.components)
                pyro.factor("kl_y", kl, has_rsample=True)
