"""z ~ Normal(0, s^2 I), theta = softmax(z), x the counts of words drawn from softmax(theta' B)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor) -> Tensor:
    """Estimate -ELBO / n of counts x, (n, words), with one z per document and the KL in closed form, in nats."""
    mu, pre_scale = pair.encoder(x).chunk(2, dim=-1)
    sigma, s = F.softplus(pre_scale), pair.scale
    z = mu + sigma * torch.randn_like(mu)  # (n, topics)
    kl = (((mu.square() + sigma.square()) / s**2 - 1) / 2 + math.log(s) - sigma.log()).sum(-1)
    *_, linear, normalise, _ = pair.decoder
    log_p = normalise(linear(z.softmax(-1))).log_softmax(-1)
    return (kl - (x * log_p).sum(-1)).mean()
