"""Deep Markov model: a state that moves in time by networks, and the notes that it emits.

    z_t ~ Normal(mu(z_{t-1}), diag sigma(z_{t-1})^2)    the states, in R^latent_dim, t = 1, ..., T; z_0 is a parameter
    x_t ~ Bernoulli(emitter(z_t))                       step_dim entries of {0, 1}

The transition is gated: each coordinate of its mean lies between a linear function of z and a network of it,

    mu(z) = (1 - g(z)) * (A z + a) + g(z) * m(z),   sigma(z) = softplus(B relu(m(z)) + b),   g(z) in (0, 1),

where A starts as the identity. It is the state space model with networks in place of matrices, so no filter is exact.
The posterior is a Markov chain as there: given z_{t-1}, z_t depends on x_t, ..., x_T alone. The guide has this form:

    h_t = RNN(h_{t+1}, x_t)                                           from the end of each sequence to its start
    q(z_t | z_{t-1}, x_t:T) = head((tanh(W z_{t-1} + w) + h_t) / 2)   a Normal, with another parameter z_0

The path z_1, ..., z_T is one site. It is drawn step by step; its density needs no loop, since all z_{t-1} are known.
The summaries h_1, ..., h_T are a site of the guide, computed from x, without density.

Entries of x that are NaN are missing and masked, and zeros enter the RNN. A shorter sequence is NaN after its end,
where the states are masked in model and guide, and the RNN has not begun: these steps add nothing to the ELBO.

    >>> import torch
    >>> from pyro import poutine
    >>> pair, x = DeepMarkov(step_dim=3, latent_dim=2, hidden=4, state_dim=5), torch.ones(6, 12)
    >>> poutine.trace(pair.guide).get_trace(x).nodes["z"]["value"].shape  # (n, T, latent_dim)
    torch.Size([6, 4, 2])

    Krishnan, Shalit and Sontag, Structured inference networks for nonlinear state space models, 2017.
    Bingham et al., Pyro: Deep universal probabilistic programming, 2019 (its example `dmm`).
"""

from typing import Any

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gallery.models._distributions import NormalChain
from gallery.models._nn import mlp, reverse, steps_within

__all__ = ["DeepMarkov"]

Moments = tuple[Tensor, Tensor]  # mean and standard deviation of z_t


class Transition(nn.Module):
    """z_{t-1}, (..., latent_dim), to the moments of z_t."""

    def __init__(self, latent_dim: int, hidden: int) -> None:
        super().__init__()
        self.z_0 = nn.Parameter(torch.zeros(latent_dim))
        self.gate = nn.Sequential(mlp((latent_dim, hidden)), nn.Linear(hidden, latent_dim), nn.Sigmoid())
        self.proposal = nn.Sequential(mlp((latent_dim, hidden)), nn.Linear(hidden, latent_dim))
        self.linear, self.pre_scale = nn.Linear(latent_dim, latent_dim), nn.Linear(latent_dim, latent_dim)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, z: Tensor) -> Moments:
        proposal = self.proposal(z)
        return torch.lerp(self.linear(z), proposal, self.gate(z)), F.softplus(self.pre_scale(proposal.relu()))


class Combiner(nn.Module):
    """z_{t-1}, (..., latent_dim), and h_t, (..., state_dim), to the moments of z_t under the guide."""

    def __init__(self, latent_dim: int, step_dim: int, state_dim: int) -> None:
        super().__init__()
        self.z_0, self.h_end = nn.Parameter(torch.zeros(latent_dim)), nn.Parameter(torch.zeros(state_dim))
        self.rnn = nn.RNN(step_dim, state_dim, batch_first=True)
        self.of_z, self.head = nn.Linear(latent_dim, state_dim), nn.Linear(state_dim, 2 * latent_dim)

    def summaries(self, steps: Tensor, within: Tensor) -> Tensor:
        """Compute h_t of each step, (n, T, state_dim), from steps (n, T, step_dim)."""
        h_end = self.h_end.expand(1, len(steps), -1).contiguous()
        return reverse(self.rnn(reverse(steps, within), h_end)[0], within)

    def forward(self, z: Tensor, h: Tensor) -> Moments:
        mean, pre_scale = self.head((self.of_z(z).tanh() + h) / 2).chunk(2, -1)
        return mean, F.softplus(pre_scale)


class DeepMarkov(nn.Module):
    """x: (n, T step_dim), in {0, 1}, NaN where missing; z: (n, T, latent_dim).

    :param step_dim: number of entries of a step
    :param latent_dim: length of each z_t
    :param hidden: width of the hidden layers of transition and emitter
    :param state_dim: length of h_t
    :raises ValueError: if step_dim is below 1
    """

    capabilities: tuple[str, ...] = ("missing_values", "step_dim")
    missing_values = True

    def __init__(self, step_dim: int = 88, latent_dim: int = 100, hidden: int = 200, state_dim: int = 600) -> None:
        super().__init__()
        if step_dim < 1:
            raise ValueError(f"step_dim must be at least 1, not {step_dim}.")
        self.step_dim = step_dim
        self.transition = Transition(latent_dim, hidden)
        self.emitter = nn.Sequential(mlp((latent_dim, hidden, hidden)), nn.Linear(hidden, step_dim))
        self.combiner = Combiner(latent_dim, step_dim, state_dim)

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("transition", self.transition)
        pyro.module("emitter", self.emitter)
        path = NormalChain(lambda z, t: self.transition(z), self.transition.z_0, steps_within(x, self.step_dim))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", path)  # (n, T, latent_dim)
            p = dist.Bernoulli(logits=self.emitter(z).flatten(-2)).mask(~x.isnan())
            pyro.sample("x", p.to_event(1), obs=x.nan_to_num())

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("combiner", self.combiner)
        within = steps_within(x, self.step_dim)
        summaries = self.combiner.summaries(x.nan_to_num().unflatten(1, (-1, self.step_dim)), within)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            h = pyro.sample("h", dist.Delta(summaries, event_dim=2).mask(False), infer={"is_auxiliary": True})
            h_t = h.unbind(1)  # the gradient of h[:, t] would be as large as h, at each of T steps

            def step(z: Tensor, t: Any) -> Moments:
                return self.combiner(z, h if isinstance(t, slice) else h_t[t])

            pyro.sample("z", NormalChain(step, self.combiner.z_0, within))
