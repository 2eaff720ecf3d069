"""A tiny pair for the examples in docstrings."""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

__all__ = ["LinearGaussian"]


class LinearGaussian(nn.Module):
    """The smallest linear Gaussian model, with an amortised guide that contains the exact posterior.

        z ~ Normal(0, 1),    x ~ Normal(z, 1),    q(z | x) = Normal(weight x, softplus(spread))

    The posterior is Normal(x / 2, sqrt(1 / 2)), and the evidence is Normal(x; 0, sqrt(2)). The model has no parameters.
    The guide starts at `weight` = 0 with standard deviation 1.

    >>> import torch
    >>> from inference.examples import LinearGaussian
    >>> LinearGaussian().log_evidence(torch.zeros(1, 1))
    tensor([-1.2655])
    """

    def __init__(self):
        super().__init__()
        self.q = nn.ParameterDict(
            {"weight": nn.Parameter(torch.zeros(())), "spread": nn.Parameter(torch.tensor(0.5413))}
        )

    def model(self, x: Tensor, total: int | None = None) -> None:
        """Run the model on x of shape (n, 1)."""
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        """Draw z of shape (n, 1) from the guide at x of shape (n, 1)."""
        pyro.module("q", self.q)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            scale = softplus(self.q["spread"])
            pyro.sample("z", dist.Normal(self.q["weight"] * x, scale).to_event(1))

    def log_evidence(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats of each data point, (n,)."""
        return dist.Normal(0.0, 2**0.5).log_prob(x[:, 0])
