"""p ~ Dirichlet(concentration), x_i ~ Categorical(p), and a Dirichlet guide: one p for all throws."""

import torch
from torch import Tensor, nn


def log_dirichlet(p: Tensor, a: Tensor) -> Tensor:
    """log Dirichlet(p; a), ()."""
    return ((a - 1) * p.log()).sum() + a.sum().lgamma() - a.lgamma().sum()


def loss(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> Tensor:
    """-ELBO of all the throws, x (n, faces) one-hot, with one draw of p, over n: nats per datum."""
    a = pair.q["log_total"].exp() * pair.q["logits"].softmax(0)
    p = torch.distributions.Dirichlet(a).rsample()  # torch knows dp / da, of gamma variates
    log_prior = log_dirichlet(p, torch.full_like(a, pair.concentration))
    log_likelihood = (x.sum(0) * p.log()).sum()
    return (log_dirichlet(p, a) - log_prior - log_likelihood) / len(x)
