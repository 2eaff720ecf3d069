"""A pair whose every answer is known, for examples in docstrings."""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

__all__ = ["LinearGaussian"]


class LinearGaussian(nn.Module):
    """z ~ Normal(0, 1), x ~ Normal(z, 1), with the guide q(z | x) = Normal(a x + b, softplus(c)); x is (n, 1), z (n,).

    The evidence is p(x) = Normal(x; 0, sqrt(2)) and the posterior Normal(x / 2, sqrt(1 / 2)).
    """

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(0.3)), nn.Parameter(torch.tensor(0.1))
        self.c = nn.Parameter(torch.tensor(0.3))

    def model(self, x: Tensor, total: int | None = None) -> None:
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("guide", self)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Normal(self.a * x[:, 0] + self.b, softplus(self.c)))

    def log_evidence(self, x: Tensor) -> Tensor:
        """Compute log p(x) of each data point, (n,) in nats."""
        return dist.Normal(0.0, math.sqrt(2)).log_prob(x[:, 0])
