"""`GaussianHead` and `PixelHead` of `gallery.models._nn` as formulas, without distribution objects."""

import math

import torch.nn.functional as F
from torch import Tensor

from gallery.models._distributions import MAX_LOGIT
from gallery.models._nn import GaussianHead, PixelHead

__all__ = ["log_p", "normal"]


def normal(head: GaussianHead, h: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and standard deviation, (..., dim), of a diagonal normal distribution from h, (..., in_dim)."""
    mu, pre_sigma = head.linear(h).chunk(2, dim=-1)
    return mu, F.softplus(pre_sigma)


def log_p(head: PixelHead, h: Tensor, x: Tensor) -> Tensor:
    """Compute log p(x | h), (..., n) in nats, from h, (..., n, in_dim), and x, (n, data_dim), summed over pixels."""
    eta = head.linear(h)
    if head.likelihood == "bernoulli":
        return (x * eta - F.softplus(eta)).sum(-1)
    if head.likelihood == "continuous_bernoulli":
        logit = eta.clamp(-MAX_LOGIT, MAX_LOGIT)
        size = logit.abs().clamp(min=1e-3)  # closer to 0 the logarithm below is 0 up to 4e-8
        log_norm = (logit + size) / 2 + (-(-size).expm1() / size).log()  # log((exp(logit) - 1) / logit)
        return (x * logit - log_norm).sum(-1)
    mean, scale = eta.sigmoid() if head.bounded else eta, F.softplus(head.pre_scale)
    return -(((x - mean) / scale).square() / 2 + scale.log() + math.log(2 * math.pi) / 2).sum(-1)
