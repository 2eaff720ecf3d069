"""y ~ Categorical(weights), x ~ Normal(mean_y, scale_y): y is summed out, so that there is nothing to draw."""

import math

import torch.nn.functional as F
from torch import Tensor, nn


def loss(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> Tensor:
    """-log p(x) of x, (n, data_dim): nats per datum."""
    log_weights = pair.theta["logits"].log_softmax(0)  # (components,)
    mean, scale = pair.theta["mean"], F.softplus(pair.theta["pre_scale"])  # (components, data_dim)
    standard = (x.unsqueeze(1) - mean) / scale  # (n, components, data_dim)
    log_likelihood = -(standard.square() / 2 + scale.log() + math.log(2 * math.pi) / 2).sum(-1)
    return -(log_weights + log_likelihood).logsumexp(1).mean()
