"""A Markov chain of states y_t, x_t ~ Normal(mean_{y_t}, scale_{y_t}). The forward algorithm sums over paths."""

import math

import torch.nn.functional as F
from torch import Tensor

from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Compute the mean of -log p(x_1, ..., x_T) over x, (n, T), NaN where missing, in nats per data point."""
    initial, transition = pair.theta["initial"].log_softmax(0), pair.theta["transition"].log_softmax(1)
    mean, scale = pair.theta["mean"], F.softplus(pair.theta["pre_scale"])  # (states,)
    emission = -((x.nan_to_num().unsqueeze(-1) - mean) / scale).square() / 2 - scale.log() - math.log(2 * math.pi) / 2
    emission = emission * ~x.isnan().unsqueeze(-1)  # log p(x_t | y_t), 0 where x_t is missing
    alpha = initial + emission[:, 0]  # log p(x_1:t, y_t), (n, states)
    for t in range(1, x.shape[1]):
        alpha = (alpha.unsqueeze(2) + transition).logsumexp(1) + emission[:, t]
    return -alpha.logsumexp(1).mean()
