"""Hidden Markov model: a mixture whose component follows a Markov chain.

    y_1 ~ Categorical(initial),  y_t ~ Categorical(transition of y_{t-1})     the states, t = 1, ..., T
    x_t ~ Normal(mean_{y_t}, scale_{y_t})                                     x in R^T, scale = softplus(pre_scale)

A step whose x_t is NaN is missing: x_t is masked, and y_t is summed out like the others. A shorter sequence is NaN
after its end, where factors and expected counts add nothing.

The states are summed out exactly. `pyro.markov` declares that y_t depends on y_{t-1} and on no earlier state, so that
the sum over states^T paths is computed by message passing, in O(T states^2) operations. That is the forward algorithm,
which `log_evidence` writes out.

EM (Baum-Welch) needs the expected number of visits of each state and of each transition. They are the derivatives of
log p(x) with respect to the logarithms of the factors, so differentiating the forward algorithm is the backward one
(Eisner, Inside-outside and forward-backward algorithms are just backprop, 2016).

    >>> import torch
    >>> pair, x = HMM(states=3), torch.randn(20, 5)
    >>> before = pair.log_evidence(x).sum()
    >>> pair.m_step(pair.e_step(x))
    >>> bool(pair.log_evidence(x).sum() > before)
    True

    Rabiner, A tutorial on hidden Markov models and selected applications in speech recognition, 1989.
"""

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gallery.models._nn import steps_within

__all__ = ["HMM"]


class HMM(nn.Module):
    """x: (n, T), a number at each step, NaN where missing; y_t: (n,). The states are summed out: objective "enum".

    :param states: number of states
    :raises ValueError: if states is below 1
    """

    capabilities: tuple[str, ...] = ("missing_values", "step_dim")
    missing_values, step_dim = True, 1

    def __init__(self, states: int = 3) -> None:
        super().__init__()
        if states < 1:
            raise ValueError(f"states must be at least 1, not {states}.")
        self.theta = nn.ParameterDict(
            {
                "initial": torch.zeros(states),
                "transition": torch.eye(states),  # row i: logits of y_t given y_{t-1} = i
                "mean": torch.randn(states),
                "pre_scale": torch.ones(states),
            }
        )

    def likelihood(self, y: Tensor) -> dist.TorchDistribution:
        """Return p(x_t | y_t), with the batch shape of y_t."""
        return dist.Normal(self.theta["mean"][y], F.softplus(self.theta["pre_scale"])[y])

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("theta", self.theta)
        logits, observed, values = self.theta["initial"], ~x.isnan(), x.nan_to_num()
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            for t in pyro.markov(range(1, x.shape[1] + 1)):
                y = pyro.sample(f"y_{t}", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})
                pyro.sample(f"x_{t}", self.likelihood(y).mask(observed[:, t - 1]), obs=values[:, t - 1])  # (n,)
                logits = self.theta["transition"][y]

    def guide(self, x: Tensor, total: int | None = None) -> None:
        """Empty: the states are summed out in the model."""

    def log_factors(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute log p(y_1), (states,); log p(y_t | y_{t-1}), (states, states); log p(x_t | y_t), (n, T, states).

        The last is 0 where x_t is missing.
        """
        every = torch.arange(len(self.theta["initial"]), device=x.device)
        emission = self.likelihood(every).log_prob(x.nan_to_num().unsqueeze(-1)).where(~x.isnan().unsqueeze(-1), 0.0)
        return self.theta["initial"].log_softmax(0), self.theta["transition"].log_softmax(1), emission

    def forward_algorithm(self, x: Tensor, initial: Tensor, transition: Tensor, emission: Tensor) -> Tensor:
        """Compute log p(x) from the logarithms of the factors, (n,) in nats, up to the last observed step of x."""
        alpha = initial + emission[:, 0]  # log p(x_1:t, y_t), (n, states)
        within = steps_within(x, self.step_dim)  # (n, T)
        for t in range(1, emission.shape[1]):
            after = (alpha.unsqueeze(2) + transition).logsumexp(1) + emission[:, t]
            alpha = after.where(within[:, t : t + 1], alpha)
        return alpha.logsumexp(1)

    def log_evidence(self, x: Tensor) -> Tensor:
        """Compute log p of the observed steps, (n,) in nats."""
        return self.forward_algorithm(x, *self.log_factors(x))

    def expected_counts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute expected counts under p(y | x).

        :return: number of data points that start in each state, (states,); number of times that each transition is made
            over all data points, (states, states); p(y_t | x), (n, T, states), which is 0 after the end of a sequence
        """
        with torch.enable_grad():
            factors = tuple(factor.detach().requires_grad_() for factor in self.log_factors(x))
            evidence = self.forward_algorithm(x, *factors).sum()
            initial, transition, y = torch.autograd.grad(evidence, factors, allow_unused=True, materialize_grads=True)
        return initial, transition, y

    def e_step(self, x: Tensor) -> dict[str, Tensor]:
        """Return the expected sufficient statistics under p(y | x), averaged over data points.

        :return: initial, (states,); transition, (states, states); y, visits of each state at observed steps, (states,);
            x and xx, sums of x_t and its square over these visits, each (states,)
        """
        initial, transition, y = self.expected_counts(x)
        y, x = y * ~x.isnan().unsqueeze(2), x.nan_to_num()
        sums = {"y": y.sum(1), "x": (y * x.unsqueeze(2)).sum(1), "xx": (y * x.square().unsqueeze(2)).sum(1)}
        visits = {name: value.mean(0) for name, value in sums.items()}
        return {"initial": initial / len(x), "transition": transition / len(x), **visits}

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """Set all parameters to the maximisers of the expected log joint density; scales stay above 1e-3."""
        s = {name: value.clamp(min=torch.finfo(value.dtype).tiny) for name, value in statistics.items() if name != "x"}
        mean = statistics["x"] / s["y"]
        scale = (s["xx"] / s["y"] - mean.square()).clamp(min=1e-6).sqrt()
        with torch.no_grad():
            self.theta["initial"].copy_(s["initial"].log())
            self.theta["transition"].copy_(s["transition"].log())
            self.theta["mean"].copy_(mean)
            self.theta["pre_scale"].copy_(scale + (-(-scale).expm1()).log())  # softplus(pre_scale) = scale
