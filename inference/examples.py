"""Tiny pairs for the examples in docstrings, tests and comparisons."""

from itertools import product

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

__all__ = ["BinaryCauses", "LinearGaussian"]


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


class BinaryCauses(nn.Module):
    """Binary data with a few binary causes, each a site that enumeration sums out: the answer to sampled gradients.

        b_j ~ Bernoulli(prior_j), j = 1 ... causes,    x_i ~ Bernoulli(sigmoid(bias_i + sum_j weight_ij b_j))

    The guide, q(b_j | x) = Bernoulli(sigmoid(linear function of x)), has independent causes. The posterior has not: one
    cause explains another away. The evidence is a sum over all 2^causes values of b.

    >>> import torch
    >>> from inference.examples import BinaryCauses
    >>> BinaryCauses(data_dim=3, causes=2).log_evidence(torch.ones(5, 3)).shape
    torch.Size([5])

    :param data_dim: number of binary values of x
    """

    def __init__(self, data_dim: int = 64, causes: int = 4):
        super().__init__()
        self.causes = causes
        self.theta = nn.ParameterDict({"prior": nn.Parameter(torch.zeros(causes))})
        self.decoder, self.encoder = nn.Linear(causes, data_dim), nn.Linear(data_dim, causes)

    def _causes(self, logits: Tensor) -> Tensor:
        """Draw, or enumerate, the causes with these logits, (n, causes) or (causes,); return (..., n, causes)."""
        bits = [
            pyro.sample(f"b_{j}", dist.Bernoulli(logits=of), infer={"enumerate": "parallel"})
            for j, of in enumerate(logits.unbind(-1), 1)
        ]
        return torch.stack(torch.broadcast_tensors(*bits), -1)

    def model(self, x: Tensor, total: int | None = None) -> None:
        """Run the model on x of shape (n, data_dim)."""
        pyro.module("theta", self.theta)
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            b = self._causes(self.theta["prior"].expand(len(x), -1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(b)).to_event(1), obs=x)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        """Draw the causes of x of shape (n, data_dim)."""
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            self._causes(self.encoder(x))

    def log_joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return all values of the causes, (2^causes, causes), and log p(x, b) in nats of each, (2^causes, n)."""
        b = torch.tensor(list(product((0.0, 1.0), repeat=self.causes))).to(x)
        prior = dist.Bernoulli(logits=self.theta["prior"]).log_prob(b).sum(-1, keepdim=True)
        return b, prior + dist.Bernoulli(logits=self.decoder(b).unsqueeze(1)).log_prob(x).sum(-1)

    def log_evidence(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats of each data point, (n,)."""
        return self.log_joint(x)[1].logsumexp(0)
