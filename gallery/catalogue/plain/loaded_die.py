"""p ~ Dirichlet(concentration), x_i ~ Categorical(p), with one p for all throws; the guide is a Dirichlet."""

import torch
from torch import Tensor

from inference import Pair

__all__ = ["loss"]


def log_dirichlet(p: Tensor, a: Tensor) -> Tensor:
    """Compute log Dirichlet(p; a), a scalar, for p and a, (faces,)."""
    return ((a - 1) * p.log()).sum() + a.sum().lgamma() - a.lgamma().sum()


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Estimate -ELBO / n of all throws x, (n, faces) one-hot, with one sample of p, in nats per data point."""
    a = pair.q["log_total"].exp() * pair.q["logits"].softmax(0)
    p = torch.distributions.Dirichlet(a).rsample()  # torch differentiates through the gamma variates
    log_prior = log_dirichlet(p, torch.full_like(a, pair.concentration))
    log_likelihood = (x.sum(0) * p.log()).sum()
    return (log_dirichlet(p, a) - log_prior - log_likelihood) / len(x)
