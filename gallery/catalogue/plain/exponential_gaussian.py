"""z ~ Exponential(1), x ~ Normal(z, 1); the guide is a normal distribution truncated to z >= 0."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.special import log_ndtr, ndtr, ndtri

from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Estimate -ELBO of x, (n, 1), with one sample of z per data point, in nats per data point."""
    a, b = pair.eta(x).unbind(-1)
    scale = F.softplus(b)
    u = torch.rand_like(a)
    alpha = (a / scale).double()  # float32's ndtri is infinite below 1e-10, which fits reach early
    z = a - scale * ndtri(u * ndtr(alpha)).to(a)  # inverse of the survival function, so z >= 0
    normal = math.log(2 * math.pi) / 2  # constant of the log-density of a normal distribution
    log_prior = -z
    log_likelihood = -(x.squeeze(-1) - z).square() / 2 - normal
    log_q = -((z - a) / scale).square() / 2 - normal - scale.log() - log_ndtr(a / scale)
    return (log_q - log_prior - log_likelihood).mean()
