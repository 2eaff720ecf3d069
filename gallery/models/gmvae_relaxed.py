"""Relaxed Gaussian mixture VAE: the model of gmvae.py with a relaxed component in training mode.

In training mode: y ~ Gumbel-Softmax (concrete distribution) at a temperature, in model and guide, with the same weights
as gmvae.py. That takes one decoding per image instead of one per component, and gives a gradient through y. The
objective bounds the evidence of another model, the relaxed one.
In evaluation mode: the model is gmvae.py itself. y is summed out, and the bound is that of the discrete model.

`Relaxed` estimates the KL of the relaxed y from its samples. `CategoricalKL` uses KL(q(y | x) || p(y)) of the
categorical distributions in closed form instead: less noise, but its objective bounds the evidence of no model, because
the relaxed and the categorical densities differ. `StraightThrough` also rounds y to one-hot, and takes the gradient of
the relaxed y: its objective is an unbiased estimate of the bound of the discrete model, and its gradient is biased.

Training can collapse: at temperature 1/2 the recipe ends with every image in one component (RESULTS.md has the number
of components in use).

    >>> import torch
    >>> from pyro import poutine
    >>> pair, x = Relaxed(data_dim=6, components=3, latent_dim=2, hidden=(8,)), torch.ones(5, 6)
    >>> log_y = poutine.trace(pair.guide).get_trace(x).nodes["y"]["value"]  # in log space: see GumbelSoftmax
    >>> log_y.shape, log_y.exp().sum(1).allclose(torch.ones(5))
    (torch.Size([5, 3]), True)

    Jang, Gu and Poole, Categorical reparameterization with Gumbel-Softmax, 2017.
    Maddison, Mnih and Teh, The concrete distribution, 2017.
    Bengio, Léonard and Courville, Estimating or propagating gradients through stochastic neurons, 2013.
"""

import math
from typing import Any

import pyro
import torch
from torch import Tensor

from gallery.models._distributions import GumbelSoftmax
from gallery.models.gmvae import GMVAE

__all__ = ["CategoricalKL", "Relaxed", "StraightThrough"]


class Relaxed(GMVAE):
    """x: (n, data_dim), in {0, 1}. In training mode the component is a point of the simplex.

    In training mode: y: (n, components), relaxed, its logarithm the value of the site; z: (n, latent_dim).
    In evaluation mode: as GMVAE.

    :param temperature: temperature of the relaxation; y tends to one-hot as it tends to 0
    :raises ValueError: if temperature is not positive and finite
    """

    capabilities: tuple[str, ...] = ("temperature",)
    temperature: Tensor

    def __init__(self, *args: Any, temperature: float = 0.5, **kwargs: Any) -> None:
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature must be positive and finite, not {temperature}.")
        super().__init__(*args, **kwargs)
        self.register_buffer("temperature", torch.tensor(temperature), persistent=False)

    def component(self, logits: Tensor) -> Tensor:
        """Return a relaxed y, (n, components), in training mode, and that of GMVAE in evaluation mode."""
        if not self.training:
            return super().component(logits)
        return pyro.sample("y", GumbelSoftmax(self.temperature, logits=logits)).exp()


class CategoricalKL(Relaxed):
    """x: (n, data_dim), in {0, 1}. As Relaxed, with the KL of the categorical distributions of the component.

    In training mode: y has no density; the factor `kl_y` of the guide is its KL, (n,), in nats.
    In evaluation mode: as GMVAE.
    """

    def component(self, logits: Tensor) -> Tensor:
        """Return a relaxed y without density, (n, components), in training mode; that of GMVAE in evaluation mode."""
        if not self.training:
            return super().component(logits)
        return self.decoded(pyro.sample("y", GumbelSoftmax(self.temperature, logits=logits).mask(False)).exp())

    def decoded(self, y: Tensor) -> Tensor:
        """Return the y that priors and encoders read, (n, components): the relaxed one."""
        return y

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


class StraightThrough(CategoricalKL):
    """x: (n, data_dim), in {0, 1}. As CategoricalKL, with y rounded to one-hot and the gradient of the relaxed y.

    The largest of logits with Gumbel noise is a draw of the categorical distribution, so that the value of the
    objective has the bound of GMVAE as its mean.

    In training mode: the site y has no density, and is the logarithm of the relaxed y, (n, components).
    In evaluation mode: as GMVAE.
    """

    def decoded(self, y: Tensor) -> Tensor:
        """Return y rounded to one-hot, (n, components), with the gradient of y."""
        hard = torch.zeros_like(y).scatter(-1, y.argmax(-1, keepdim=True), 1.0)
        return hard + (y - y.detach())
