"""Blocks that several models share. A head ends a network and returns a distribution, so a whole network does."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Likelihood = Literal["bernoulli", "continuous_bernoulli", "gaussian"]
Activation = Literal["relu", "tanh"]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


BOUND = math.log(2**23 - 1)
"""The largest logit of a continuous Bernoulli, 15.94. Its density at 0 grows with the logit without end. In float32
torch takes the normalising constant at a probability that stays 2^-23 away from 0 and 1, and the rest of the density
at the logit itself, so that beyond it integrates to less than 1. Published numbers are of this arithmetic, in effect
of bounded logits. Here they are bounded in earnest, and the density is one."""


class ContinuousBernoulli(dist.ContinuousBernoulli):
    """A density on [0, 1]: log p(x) = l x - log((exp(l) - 1) / l) for the logit l, in any precision, at any l."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        size = self.logits.abs().clamp(min=1e-3)  # nearer to 0 the logarithm below is 0 but for 4e-8
        log_norm = (self.logits + size) / 2 + (-(-size).expm1() / size).log()
        return self.logits * value - log_norm

    @property
    def mean(self) -> Tensor:
        """The derivative of the log-norm: 1 / (1 - exp(-l)) - 1 / l, and its series where the two nearly cancel."""
        small = self.logits.abs() < 0.1
        away = torch.where(small, 1.0, self.logits)
        series = 0.5 + self.logits / 12 - self.logits**3 / 720
        return torch.where(small, series, -1 / (-away).expm1() - 1 / away)


def mlp(sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU, dropout: float = 0.0) -> nn.Sequential:
    """Fully connected layers of the given sizes, each followed by the activation and, if any, dropout."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), activation()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


class GaussianHead(nn.Module):
    """h -> Normal(A h + a, softplus(B h + b)), diagonal: (..., in_dim) to a distribution over (..., dim)."""

    def __init__(self, in_dim: int, dim: int):
        super().__init__()
        self.linear = nn.Linear(in_dim, 2 * dim)

    def forward(self, h: Tensor) -> dist.Distribution:
        loc, pre_scale = self.linear(h).chunk(2, dim=-1)
        return dist.Normal(loc, F.softplus(pre_scale)).to_event(1)


class PairEncoder(nn.Module):
    """x and y to q(z | x, y), diagonal normal: (n, data_dim) and (..., n or 1, y_dim) to a distribution over
    (..., n, latent_dim).

    The first layer is one of [x, y], W x + V y + b, written as a sum: where y is enumerated x is read once, and not
    once for each y.
    """

    def __init__(self, data_dim: int, y_dim: int, hidden: Sequence[int], latent_dim: int):
        super().__init__()
        self.of_x, self.of_y = nn.Linear(data_dim, hidden[0]), nn.Linear(y_dim, hidden[0], bias=False)
        self.rest = nn.Sequential(nn.ReLU(), mlp(hidden), GaussianHead(hidden[-1], latent_dim))

    def forward(self, x: Tensor, y: Tensor) -> dist.Distribution:
        return self.rest(self.of_x(x) + self.of_y(y))


class PixelHead(nn.Module):
    """h -> p(x | h), independent over pixels: (..., in_dim) to a distribution over (..., data_dim).

    ``bernoulli`` is for pixels in {0, 1}, ``continuous_bernoulli`` for pixels in [0, 1], its logit bounded by ``BOUND``
    (see there), and ``gaussian`` for real values; its standard deviation is ``scale``, or learned, one for all pixels,
    where ``scale`` is None, and its mean a sigmoid where it is ``bounded``, as pixels in [0, 1] are.
    """

    def __init__(
        self, in_dim: int, data_dim: int, likelihood: Likelihood, scale: float | None = None, bounded: bool = False
    ):
        super().__init__()
        if likelihood not in ("bernoulli", "continuous_bernoulli", "gaussian"):
            raise ValueError(f"likelihood is bernoulli, continuous_bernoulli or gaussian, not {likelihood!r}.")
        if scale is not None and not scale > 0:
            raise ValueError(f"the scale of a Gaussian likelihood is positive, not {scale}.")
        self.likelihood, self.bounded = likelihood, bounded
        self.linear = nn.Linear(in_dim, data_dim)
        if likelihood == "gaussian":
            pre_scale = torch.tensor(1.0 if scale is None else scale).expm1().log()  # softplus(pre_scale) = scale
            if scale is None:
                self.pre_scale = nn.Parameter(pre_scale)
            else:
                self.register_buffer("pre_scale", pre_scale)

    def forward(self, h: Tensor) -> dist.Distribution:
        eta = self.linear(h)
        if self.likelihood == "bernoulli":
            return dist.Bernoulli(logits=eta).to_event(1)
        if self.likelihood == "continuous_bernoulli":
            return ContinuousBernoulli(logits=BOUND * (eta / BOUND).tanh()).to_event(1)
        mean = eta.sigmoid() if self.bounded else eta
        return dist.Normal(mean, F.softplus(self.pre_scale).expand_as(eta)).to_event(1)
