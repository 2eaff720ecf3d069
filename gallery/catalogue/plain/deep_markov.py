"""z_t given z_{t-1} by a gated network, x_t given z_t; the guide joins z_{t-1} with an RNN from the end to t."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Estimate -ELBO of x, (n, T step_dim), NaN where missing, with one sample of z_1, ..., z_T, in nats."""
    steps, observed = x.nan_to_num().unflatten(1, (-1, pair.step_dim)), ~x.isnan().unflatten(1, (-1, pair.step_dim))
    within = observed.any(2).flip(1).cumsum(1).flip(1) > 0  # (n, T)
    rnn, total = pair.combiner.rnn, x.new_zeros(len(x))
    h = pair.combiner.h_end.expand(len(x), -1)
    summaries: list[Tensor] = []
    for t in reversed(range(steps.shape[1])):
        into = F.linear(steps[:, t], rnn.weight_ih_l0, rnn.bias_ih_l0)
        after = torch.tanh(into + F.linear(h, rnn.weight_hh_l0, rnn.bias_hh_l0))
        h = after.where(within[:, t : t + 1], h)  # a sequence that has ended has not begun from behind
        summaries.insert(0, h)
    z_model, z_guide = pair.transition.z_0.expand(len(x), -1), pair.combiner.z_0.expand(len(x), -1)
    for t, h_t in enumerate(summaries):
        proposal, gate = pair.transition.proposal(z_model), pair.transition.gate(z_model)
        loc = (1 - gate) * pair.transition.linear(z_model) + gate * proposal  # of p(z_t | z_{t-1})
        scale = F.softplus(pair.transition.pre_scale(proposal.relu()))
        mu, pre_sigma = pair.combiner.head((torch.tanh(pair.combiner.of_z(z_guide)) + h_t) / 2).chunk(2, dim=-1)
        sigma = F.softplus(pre_sigma)
        z_model = z_guide = mu + sigma * torch.randn_like(mu)
        eta = pair.emitter(z_model)
        log_likelihood = ((steps[:, t] * eta - F.softplus(eta)) * observed[:, t]).sum(-1)
        kl = (log_normal(z_model, mu, sigma) - log_normal(z_model, loc, scale)) * within[:, t]  # from the sample
        total = total + kl - log_likelihood
    return total.mean()


def log_normal(z: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    """Compute log Normal(z; mu, diag sigma^2), summed over the last dimension."""
    return -(((z - mu) / sigma).square() / 2 + sigma.log() + math.log(2 * math.pi) / 2).sum(-1)
