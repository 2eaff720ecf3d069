"""z_i ~ Normal(0, 1), x_ij ~ Bernoulli(sigmoid(a_j (z_i - b_j))); q(z | x) a product of N(z; 0, 1) and a factor of each
answer."""

import torch
import torch.nn.functional as F
from torch import Tensor

from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor) -> Tensor:
    """Estimate -ELBO / n of answers x, (n, items), NaN where missing, with the KL in closed form, in nats."""
    observed, right = ~x.isnan(), x.nan_to_num()
    wrong, t, w = observed.to(x) - right, pair.phi["log_t"].exp(), pair.phi["w"]
    precision = 1 + wrong @ t[0] + right @ t[1]
    mean = (wrong @ w[0] + right @ w[1]) / precision
    z = mean + torch.randn_like(mean) / precision.sqrt()
    logits = pair.theta["a"] * (z.unsqueeze(-1) - pair.theta["b"])
    log_likelihood = -F.binary_cross_entropy_with_logits(logits, right, reduction="none").where(observed, 0.0).sum(1)
    kl = (1 / precision + mean.square() - 1 + precision.log()) / 2
    return (kl - log_likelihood).mean()
