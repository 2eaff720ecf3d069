"""Hidden Markov model: a mixture whose component remembers.

    y_1 ~ Categorical(initial),  y_t ~ Categorical(transition of y_{t-1})     the states, t = 1, ..., T
    x_t ~ Normal(mean_{y_t}, scale_{y_t})                                     x in R^T, scale = softplus(pre_scale)

The states are summed out exactly. `pyro.markov` says that y_t needs y_{t-1} and no state before it, so that the sum
over states^T paths is taken by message passing, in operations of the order of T * states^2: the forward algorithm,
which `log_evidence` writes out.

EM (Baum-Welch) needs the expected number of visits of each state and of each transition. They are the derivatives of
log p(x) with respect to the logarithms of the factors, so differentiating the forward algorithm is the backward one
(Eisner, Inside-outside and forward-backward algorithms are just backprop, 2016).

    Rabiner, A tutorial on hidden Markov models and selected applications in speech recognition, 1989.
"""

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["HMM"]


class HMM(nn.Module):
    """x: (n, T), a number at each step. The states are summed out: objective "enum".

    :param states: number of states
    """

    def __init__(self, states: int = 3):
        super().__init__()
        if states < 1:
            raise ValueError(f"states must be at least 1, not {states}.")
        self.theta = nn.ParameterDict(
            {
                "initial": torch.zeros(states),
                "transition": torch.eye(states),  # a row of logits for each state to come from
                "mean": torch.randn(states),
                "pre_scale": torch.ones(states),
            }
        )

    def likelihood(self, y: Tensor) -> dist.Distribution:
        """p(x_t | y_t), batch shape that of y_t."""
        return dist.Normal(self.theta["mean"][y], F.softplus(self.theta["pre_scale"])[y])

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("theta", self.theta)
        logits = self.theta["initial"]
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            for t in pyro.markov(range(1, x.shape[1] + 1)):
                y = pyro.sample(f"y_{t}", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})
                pyro.sample(f"x_{t}", self.likelihood(y), obs=x[:, t - 1])  # (n,)
                logits = self.theta["transition"][y]

    def guide(self, x: Tensor, total: int | None = None) -> None:
        """Nothing is left to infer."""

    def log_factors(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """log p(y_1), (states,); log p(y_t | y_{t-1}), (states, states); log p(x_t | y_t), (n, T, states)."""
        every = torch.arange(len(self.theta["initial"]), device=x.device)
        emission = self.likelihood(every).log_prob(x.unsqueeze(-1))
        return self.theta["initial"].log_softmax(0), self.theta["transition"].log_softmax(1), emission

    @staticmethod
    def forward_algorithm(initial: Tensor, transition: Tensor, emission: Tensor) -> Tensor:
        """log p(x) from the logarithms of the factors, (n,) in nats."""
        alpha = initial + emission[:, 0]  # log p(x_1:t, y_t), (n, states)
        for t in range(1, emission.shape[1]):
            alpha = (alpha.unsqueeze(2) + transition).logsumexp(1) + emission[:, t]
        return alpha.logsumexp(1)

    def log_evidence(self, x: Tensor) -> Tensor:
        """log p(x_1, ..., x_T), (n,) in nats."""
        return self.forward_algorithm(*self.log_factors(x))

    def expected_counts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Under p(y | x): how often each state comes first, (states,), and each transition is made, (states, states),
        over all data; and p(y_t | x), (n, T, states)."""
        with torch.enable_grad():
            factors = tuple(factor.detach().requires_grad_() for factor in self.log_factors(x))
            evidence = self.forward_algorithm(*factors).sum()
            return torch.autograd.grad(evidence, factors, allow_unused=True, materialize_grads=True)

    def e_step(self, x: Tensor) -> dict[str, Tensor]:
        """Expected sufficient statistics per datum: first states, transitions, visits, and x and its square there."""
        initial, transition, y = self.expected_counts(x)
        sums = {"y": y.sum(1), "x": (y * x.unsqueeze(2)).sum(1), "xx": (y * x.square().unsqueeze(2)).sum(1)}
        per_datum = {name: value.mean(0) for name, value in sums.items()}
        return {"initial": initial / len(x), "transition": transition / len(x), **per_datum}

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """Sets all parameters to the maximisers of the expected log joint density; scales stay above 1e-3."""
        s = {name: value.clamp(min=torch.finfo(value.dtype).tiny) for name, value in statistics.items() if name != "x"}
        mean = statistics["x"] / s["y"]
        scale = (s["xx"] / s["y"] - mean.square()).clamp(min=1e-6).sqrt()
        with torch.no_grad():
            self.theta["initial"].copy_(s["initial"].log())
            self.theta["transition"].copy_(s["transition"].log())
            self.theta["mean"].copy_(mean)
            self.theta["pre_scale"].copy_(scale + (-(-scale).expm1()).log())  # softplus(pre_scale) = scale
