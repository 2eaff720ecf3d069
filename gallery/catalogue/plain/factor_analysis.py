"""z ~ Normal(0, I), x ~ Normal(W z, diag(sigma^2)); the guide is Normal(V x, L L') with one L for all x."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Estimate -ELBO of x, (n, data_dim), with one sample of z per data point and the KL in closed form, in nats."""
    L, sigma = pair.phi["L"].tril(), F.softplus(pair.theta["pre_sigma"])
    L = L * L.diagonal().sign()  # sign changes of columns leave L L' unchanged
    mu = x @ pair.phi["V"].T
    z = mu + torch.randn_like(mu) @ L.T  # (n, latent_dim)
    residual = (x - z @ pair.theta["W"].T) / sigma
    log_likelihood = -(residual.square() / 2 + sigma.log() + math.log(2 * math.pi) / 2).sum(-1)
    kl = (mu.square().sum(-1) + L.square().sum() - len(L)) / 2 - L.diagonal().log().sum()  # KL(q(z | x) || p(z))
    return (kl - log_likelihood).mean()
