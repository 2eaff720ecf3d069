"""Squared Gaussian: a posterior with two humps, and a guide that takes one of them.

    z ~ Normal(0, s)          s and t are standard deviations
    x ~ Normal(z^2, t)        the sign of z is lost, x in R

p(z | x) is even in z: its mean is 0 whatever x, and for x well above t its mass lies near -sqrt(x) and sqrt(x). The
guide Normal(a(x), softplus(b(x))), amortised by a small network, minimises KL(q || p) and so takes one hump and
leaves the other; where the two are far apart that costs log 2 nats, the half of the mass that it gives up.

There is no closed form for log p(x), but its integral is one-dimensional: see `Posterior`.

    Minka, Divergence measures and message passing, 2005 (the two directions of the KL).
    Trefethen and Weideman, The exponentially convergent trapezoidal rule, 2014 (the quadrature).
"""

import math

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from pyro.distributions import constraints
from torch import Tensor, nn

from gallery.models._nn import mlp

__all__ = ["Posterior", "SquaredGaussian"]


class Posterior(dist.TorchDistribution):
    """p(z | x) of batch shape (n,), from x: (n,); by quadrature, in float64 whatever the precision of x.

    The trapezoidal rule from -9 s to 9 s with a step of at most s / 4 and half of t / (18 s), the width of the
    narrowest hump there is on the grid. Its error falls like exp(-2 (pi width / step)^2), so what is left is rounding
    for |x| up to 60 s^2: below 1e-9. By symmetry half the points suffice, z >= 0.
    """

    arg_constraints = {"x": constraints.real}
    support = constraints.real

    def __init__(self, x: Tensor, s: float, t: float, validate_args: bool | None = None):
        self.x, self.s, self.t = x, s, t
        super().__init__(x.shape, validate_args=validate_args)

    def _log_joint(self, z: Tensor, x: Tensor) -> Tensor:
        exponent = (z / self.s).square() + ((x - z.square()) / self.t).square()
        return -0.5 * exponent - math.log(2 * math.pi * self.s * self.t)

    def _log_moment(self, power: int) -> Tensor:
        """log of the integral of z^power p(z, x) over z, for an even power; (n,) in float64."""
        intervals = math.ceil(max(36, 324 * self.s**2 / self.t))
        z = torch.linspace(0, 9 * self.s, intervals + 1, dtype=torch.float64, device=self.x.device)
        weight = torch.full_like(z, 18 * self.s / intervals)  # a step, for z and for -z
        weight[0] /= 2
        log_weight = (weight * z**power).log()
        parts = self.x.double().unsqueeze(-1).split(max(1, 2**22 // len(z)))  # what bounds the memory
        return torch.cat([(self._log_joint(z, x) + log_weight).logsumexp(-1) for x in parts])

    @property
    def log_evidence(self) -> Tensor:
        """log p(x), (n,) in nats."""
        return self._log_moment(0).to(self.x)

    def log_prob(self, value: Tensor) -> Tensor:
        return self._log_joint(value, self.x) - self.log_evidence

    @property
    def mean(self) -> Tensor:
        return torch.zeros_like(self.x)

    @property
    def variance(self) -> Tensor:
        return (self._log_moment(2) - self._log_moment(0)).exp().to(self.x)


class SquaredGaussian(nn.Module):
    """x: (n, 1). The guide is a normal distribution, amortised: it has one hump and the posterior two.

    :param s: standard deviation of z
    :param t: standard deviation of x given z
    :param hidden: width of the one hidden layer of the guide's network
    """

    def __init__(self, s: float = 1.0, t: float = 0.5, hidden: int = 32):
        super().__init__()
        for name, value in {"s": s, "t": t}.items():
            if not value > 0:
                raise ValueError(f"{name} is a standard deviation: it is positive, not {value}.")
        self.s, self.t = s, t
        self.eta = nn.Sequential(mlp((1, hidden), nn.Softplus), nn.Linear(hidden, 2))

    def model(self, x: Tensor, total: int | None = None) -> None:
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), x.new_full((), self.s)))  # (n,)
            pyro.sample("x", dist.Normal(z.square().unsqueeze(-1), x.new_full((), self.t)).to_event(1), obs=x)  # (n, 1)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("eta", self.eta)
        a, b = self.eta(x).unbind(-1)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Normal(a, F.softplus(b)))

    def log_evidence(self, x: Tensor) -> Tensor:
        """log p(x), (n,) in nats, by quadrature."""
        return self.posterior(x).log_evidence

    def posterior(self, x: Tensor) -> Posterior:
        """p(z | x), batch shape (n,)."""
        return Posterior(x.squeeze(-1), self.s, self.t)
