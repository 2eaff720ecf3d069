"""theta ~ Dirichlet(alpha), x the counts of words drawn from theta' beta; q(theta | x) by coordinate ascent."""

import torch
from torch import Tensor
from torch.distributions import Dirichlet, Gamma, kl_divergence

from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor) -> Tensor:
    """Estimate -ELBO / n of counts x, (n, words), with one theta per document and the KL in closed form, in nats."""
    beta = pair.beta["logits"].softmax(1)  # (topics, words)
    gamma = (pair.alpha + x.sum(1, keepdim=True) / len(beta)).expand(-1, len(beta))
    for _ in range(pair.sweeps):
        weight = gamma.digamma().exp()  # proportional to exp(E[log theta])
        gamma = pair.alpha + weight * ((x / (weight @ beta)) @ beta.T)
    q, prior = Dirichlet(gamma), Dirichlet(torch.full_like(gamma, pair.alpha))
    draw = Gamma(gamma, torch.ones_like(gamma)).rsample()  # theta is a draw over its sum
    log_likelihood = (x * (draw / draw.sum(1, keepdim=True) @ beta).log()).sum(1)
    return (kl_divergence(q, prior) - log_likelihood).mean()
