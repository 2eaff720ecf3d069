"""z ~ Normal(0, I), x ~ Normal(W z + m, sigma^2 I); the guide is Normal(V x + c, diag(s^2)) with one s for all x."""

import math

import torch
from torch import Tensor

from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Estimate -ELBO of x, (n, data_dim), with one sample of z per data point and the KL in closed form, in nats."""
    W, m, log_sigma = (pair.theta[name] for name in ("W", "m", "log_sigma"))
    mu, log_s = x @ pair.phi["V"].T + pair.phi["c"], pair.phi["log_s"]
    z = mu + log_s.exp() * torch.randn_like(mu)  # (n, latent_dim)
    residual = (x - z @ W.T - m) / log_sigma.exp()
    log_likelihood = -(residual.square() / 2 + log_sigma + math.log(2 * math.pi) / 2).sum(-1)
    kl = ((mu.square() + (2 * log_s).exp() - 1) / 2 - log_s).sum(-1)  # KL(q(z | x) || p(z))
    return (kl - log_likelihood).mean()
