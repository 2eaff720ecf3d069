"""Exponential-Gaussian: the smallest model whose exact posterior is outside its prior's family.

    z ~ Exponential(1)        a positive number
    x ~ Normal(z, 1)          z observed with noise, x in R

Posterior and evidence have closed forms. Completing the square in log p(x, z) = -z - (x - z)^2 / 2 + const gives

    p(z | x) = Normal(x - 1, 1) truncated to z >= 0
    log p(x) = 1/2 - x + log Phi(x - 1),    Phi the normal distribution function.

A guide of the truncated normal family contains the exact posterior, so its ELBO can reach log p(x). An exponential, a
gamma or a log-normal guide cannot: its ELBO falls short by KL(q || p(z | x)). A plain normal guide puts mass on z < 0,
where the prior has none. Its KL is infinite and its ELBO minus infinity, so it is refused.

Every guide turns two real numbers per data point, eta(x), into a distribution over z. The guides are amortised: eta is
a small network. In ``PerDatum`` eta is a table with one row per data point instead.

    >>> import torch
    >>> pair, x = ExponentialGaussian(), torch.tensor([[1.0], [2.0]])
    >>> [round(value, 4) for value in pair.log_evidence(x).tolist()]
    [-1.1931, -1.6728]
    >>> pair.posterior(x).loc
    tensor([0., 1.])

    Kingma and Welling, Auto-Encoding Variational Bayes, 2014 (amortisation).
    Robert, Simulation of truncated normal variables, 1995.
"""

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.special import log_ndtr

from gallery.models._distributions import TruncatedNormal
from gallery.models._nn import mlp

__all__ = ["Exponential", "ExponentialGaussian", "Gamma", "LogNormal", "PerDatum", "PlainNormal"]


class ExponentialGaussian(nn.Module):
    """x: (n, 1); z: (n,). The guide is a truncated normal, amortised: it contains the exact posterior.

    >>> import torch
    >>> pair, x = ExponentialGaussian(), torch.tensor([[1.0], [2.0]])
    >>> pair.log_evidence(x).shape, pair.posterior(x).mean.shape
    (torch.Size([2]), torch.Size([2]))

    :param hidden: width of the one hidden layer of the network eta
    """

    eta: nn.Module

    def __init__(self, hidden: int = 32) -> None:
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

    def family(self, a: Tensor, b: Tensor) -> dist.TorchDistribution:
        """Return q(z | x) from the two numbers eta(x) = (a, b), each (n,)."""
        return TruncatedNormal(a, F.softplus(b))

    def log_evidence(self, x: Tensor) -> Tensor:
        """Compute log p(x), (n,) in nats."""
        x = x.squeeze(-1)
        return 0.5 - x + log_ndtr(x - 1)

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        """Return p(z | x), batch shape (n,)."""
        x = x.squeeze(-1)
        return TruncatedNormal(x - 1, torch.ones_like(x))


class Exponential(ExponentialGaussian):
    """x: (n, 1); z: (n,). The guide is an exponential: its density decreases from z = 0 on, at every x."""

    def family(self, a: Tensor, b: Tensor) -> dist.TorchDistribution:
        return dist.Exponential(F.softplus(a + b))


class Gamma(ExponentialGaussian):
    """x: (n, 1); z: (n,). The guide is a gamma distribution, reparametrised implicitly."""

    def family(self, a: Tensor, b: Tensor) -> dist.TorchDistribution:
        return dist.Gamma(F.softplus(a), F.softplus(b))


class LogNormal(ExponentialGaussian):
    """x: (n, 1); z: (n,). The guide is a log-normal: no mass near z = 0, where the posterior may have its mode."""

    def family(self, a: Tensor, b: Tensor) -> dist.TorchDistribution:
        return dist.LogNormal(a, F.softplus(b))


class PlainNormal(ExponentialGaussian):
    """x: (n, 1); z: (n,). The guide is a normal: refused, because its KL to an exponential prior is infinite."""

    def family(self, a: Tensor, b: Tensor) -> dist.TorchDistribution:
        return dist.Normal(a, F.softplus(b))


class PerDatum(ExponentialGaussian):
    """x: (n, 1), rows of a data set of `total`; z: (n,). A truncated normal with one eta per data point, not amortised.

    The guide is defined for the data points it was fitted to, and for no others.

    :param total: number of data points
    """

    def __init__(self, total: int = 2000) -> None:
        nn.Module.__init__(self)  # not the parent's: this guide has no network
        self.total, self.eta = total, nn.Embedding(total, 2)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("eta", self.eta)
        with pyro.plate("data", total or len(x), subsample_size=len(x)) as rows:
            pyro.sample("z", self.family(*self.eta(rows).unbind(-1)))
