"""Exponential-Gaussian: the smallest model whose exact posterior is not its prior's family.

    z ~ Exponential(1)        a positive number
    x ~ Normal(z, 1)          z seen through noise, x in R

Everything is known in closed form. Completing the square in log p(x, z) = -z - (x - z)^2 / 2 + const gives

    p(z | x) = Normal(x - 1, 1) truncated to z >= 0
    log p(x) = 1/2 - x + log Phi(x - 1),    Phi the normal distribution function,

so a guide of the truncated normal family contains the truth and its ELBO can reach log p(x); an exponential, a
gamma or a log-normal guide cannot, and what is missing is KL(q || p(z | x)). A plain normal guide puts mass on
z < 0, where the prior has none: its KL is infinite and its ELBO minus infinity, so it is refused.

All the guides turn two real numbers per datum, eta(x), into a distribution over z. They are amortised, eta being
a small network; with ``PerDatum`` every datum has an eta of its own instead, which is what amortisation replaces.

    Kingma and Welling, Auto-Encoding Variational Bayes, 2014 (amortisation).
    Robert, Simulation of truncated normal variables, 1995.
"""

import math

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from pyro.distributions import constraints
from torch import Tensor, nn
from torch.special import log_ndtr, ndtri

from gallery.models._nn import mlp

__all__ = ["Exponential", "ExponentialGaussian", "Gamma", "LogNormal", "PerDatum", "PlainNormal", "TruncatedNormal"]


class TruncatedNormal(dist.TorchDistribution):
    """Normal(loc, scale) restricted to z >= 0 (loc and scale are those before truncation), reparametrised."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, validate_args: bool | None = None):
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new, batch_shape = self._get_checked_instance(TruncatedNormal, _instance), torch.Size(batch_shape)
        new.loc, new.scale = self.loc.expand(batch_shape), self.scale.expand(batch_shape)
        super(TruncatedNormal, new).__init__(batch_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @staticmethod
    def _log_density(s: Tensor) -> Tensor:  # of a standard normal
        return -0.5 * s.square() - 0.5 * math.log(2 * math.pi)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        s = (value - self.loc) / self.scale
        return self._log_density(s) - self.scale.log() - log_ndtr(self.loc / self.scale)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        """Inverts the survival function: log_ndtr(-s) = log u + log_ndtr(loc / scale) for s = (z - loc) / scale.

        In logarithms, so that it holds far out in the tail, where ndtri alone gives infinity: ndtri gives a start,
        Newton's method the root, and its last step, from a detached start, the exact gradient. In float32 gradients
        lose digits where loc / scale is below -10: the difference of logarithms of size (loc / scale)^2 / 2.
        """
        shape = self._extended_shape(sample_shape)
        tiny = torch.finfo(self.loc.dtype).tiny
        u = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device).clamp(min=tiny)
        log_survival = u.log() + log_ndtr(self.loc / self.scale)

        def newton(s: Tensor) -> Tensor:
            s = s.detach()
            log_hazard = self._log_density(s) - log_ndtr(-s)
            return s + (log_ndtr(-s) - log_survival) * (-log_hazard).exp()

        with torch.no_grad():
            s = torch.where(log_survival > -50, -ndtri(log_survival.exp()), (-2 * log_survival).sqrt())
            for _ in range(3):
                s = newton(s)
        return (self.loc + self.scale * newton(s)).clamp(min=0)

    @property
    def mean(self) -> Tensor:
        alpha = self.loc / self.scale
        return self.loc + self.scale * (self._log_density(alpha) - log_ndtr(alpha)).exp()

    @property
    def variance(self) -> Tensor:
        alpha = self.loc / self.scale
        ratio = (self._log_density(alpha) - log_ndtr(alpha)).exp()
        return self.scale.square() * (1 - ratio * (ratio + alpha))


class ExponentialGaussian(nn.Module):
    """x: (n, 1). The guide is a truncated normal, amortised: it contains the exact posterior.

    :param hidden: width of the one hidden layer of the network eta
    """

    def __init__(self, hidden: int = 32):
        super().__init__()
        self.eta = nn.Sequential(mlp((1, hidden), nn.Softplus), nn.Linear(hidden, 2))

    def model(self, x: Tensor, total: int | None = None) -> None:
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Exponential(x.new_ones(len(x))))  # (n,)
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), x.new_ones(1)).to_event(1), obs=x)  # (n, 1)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("eta", self.eta)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", self.family(*self.eta(x).unbind(-1)))

    def family(self, a: Tensor, b: Tensor) -> dist.Distribution:
        """q(z | x) from the two numbers eta(x) = (a, b), each (n,)."""
        return TruncatedNormal(a, F.softplus(b))

    def log_evidence(self, x: Tensor) -> Tensor:
        """log p(x), (n,) in nats."""
        x = x.squeeze(-1)
        return 0.5 - x + log_ndtr(x - 1)

    def posterior(self, x: Tensor) -> dist.Distribution:
        """p(z | x), batch shape (n,)."""
        x = x.squeeze(-1)
        return TruncatedNormal(x - 1, torch.ones_like(x))


class Exponential(ExponentialGaussian):
    """x: (n, 1). The guide is an exponential: the density falls from z = 0 on, whatever x says."""

    def family(self, a: Tensor, b: Tensor) -> dist.Distribution:
        return dist.Exponential(F.softplus(a + b))


class Gamma(ExponentialGaussian):
    """x: (n, 1). The guide is a gamma distribution, reparametrised implicitly."""

    def family(self, a: Tensor, b: Tensor) -> dist.Distribution:
        return dist.Gamma(F.softplus(a), F.softplus(b))


class LogNormal(ExponentialGaussian):
    """x: (n, 1). The guide is a log-normal: no mass near z = 0, where the posterior may have its mode."""

    def family(self, a: Tensor, b: Tensor) -> dist.Distribution:
        return dist.LogNormal(a, F.softplus(b))


class PlainNormal(ExponentialGaussian):
    """x: (n, 1). The guide is a normal distribution: refused, for its KL to an exponential prior is infinite."""

    def family(self, a: Tensor, b: Tensor) -> dist.Distribution:
        return dist.Normal(a, F.softplus(b))


class PerDatum(ExponentialGaussian):
    """x: (n, 1), at rows of a data set of `total`. A truncated normal with an eta of its own for every datum.

    It knows nothing of data it was not fitted to.

    :param total: number of data
    """

    def __init__(self, total: int = 2000):
        nn.Module.__init__(self)
        self.total, self.eta = total, nn.Embedding(total, 2)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("eta", self.eta)
        with pyro.plate("data", total or len(x), subsample_size=len(x)) as rows:
            pyro.sample("z", self.family(*self.eta(rows).unbind(-1)))
