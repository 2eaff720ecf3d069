"""Squared Gaussian: a posterior with two modes, and a normal guide that fits one of them.

    z ~ Normal(0, s)          s and t are standard deviations
    x ~ Normal(z^2, t)        the sign of z is lost, x in R

p(z | x) is even in z: its mean is 0 at every x, and for x well above t its mass lies near -sqrt(x) and sqrt(x). The
guide Normal(a(x), softplus(b(x))), amortised by a small network, minimises KL(q || p) and so fits one mode and misses
the other. Where the two are far apart that costs log 2 nats: half of the mass is missed.

log p(x) has no closed form, but its integral is one-dimensional, and is computed by quadrature
(`SquaredGaussianPosterior` in `_distributions.py`).

    >>> import torch
    >>> pair, x = SquaredGaussian(), torch.tensor([[9.0]])
    >>> posterior = pair.posterior(x)  # modes near -3 and 3
    >>> posterior.mean, posterior.stddev.round(decimals=1)
    (tensor([0.]), tensor([3.]))

    Minka, Divergence measures and message passing, 2005 (the two directions of the KL).
    Trefethen and Weideman, The exponentially convergent trapezoidal rule, 2014 (the quadrature).
"""

import pyro
import pyro.distributions as dist
import torch.nn.functional as F
from torch import Tensor, nn

from gallery.models._distributions import SquaredGaussianPosterior
from gallery.models._nn import mlp

__all__ = ["SquaredGaussian"]


class SquaredGaussian(nn.Module):
    """x: (n, 1); z: (n,). The guide is a normal distribution, amortised: it has one mode and the posterior two.

    :param s: standard deviation of z
    :param t: standard deviation of x given z
    :param hidden: width of the one hidden layer of the guide's network
    :raises ValueError: if s or t is not positive
    """

    def __init__(self, s: float = 1.0, t: float = 0.5, hidden: int = 32) -> None:
        super().__init__()
        for name, value in {"s": s, "t": t}.items():
            if not value > 0:
                raise ValueError(f"{name} is a standard deviation and must be positive, not {value}.")
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
        """Compute log p(x), (n,) in nats, by quadrature."""
        return self.posterior(x).log_evidence

    def posterior(self, x: Tensor) -> SquaredGaussianPosterior:
        """Return p(z | x), batch shape (n,)."""
        return SquaredGaussianPosterior(x.squeeze(-1), self.s, self.t)
