"""y ~ Categorical(weights), x ~ Normal(mean_y, scale_y). y is summed out, so the loss needs no samples."""

import math

import torch.nn.functional as F
from torch import Tensor

from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Compute the mean of -log p(x) over x, (n, data_dim), in nats per data point."""
    log_weights = pair.theta["logits"].log_softmax(0)  # (components,)
    mean, scale = pair.theta["mean"], F.softplus(pair.theta["pre_scale"])  # (components, data_dim)
    standard = (x.unsqueeze(1) - mean) / scale  # (n, components, data_dim)
    log_likelihood = -(standard.square() / 2 + scale.log() + math.log(2 * math.pi) / 2).sum(-1)
    return -(log_weights + log_likelihood).logsumexp(1).mean()
