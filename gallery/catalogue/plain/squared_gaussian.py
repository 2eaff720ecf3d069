"""z ~ Normal(0, s), x ~ Normal(z^2, t); the guide is normal, with mean and scale from one small network."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Estimate -ELBO of x, (n, 1), with one sample of z per data point, in nats per data point."""
    a, b = pair.eta(x).unbind(-1)
    scale = F.softplus(b)
    eps = torch.randn_like(a)
    z = a + scale * eps
    normal = math.log(2 * math.pi) / 2  # constant of the log-density of a normal distribution
    log_prior = -(z / pair.s).square() / 2 - math.log(pair.s) - normal
    log_likelihood = -((x.squeeze(-1) - z.square()) / pair.t).square() / 2 - math.log(pair.t) - normal
    log_q = -eps.square() / 2 - scale.log() - normal
    return (log_q - log_prior - log_likelihood).mean()
