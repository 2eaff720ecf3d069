"""w ~ Normal(0, prior_scale^2 I), x_i ~ Bernoulli(sigmoid(w_0 + w_1: . c_i)); the guide is a full normal."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor) -> Tensor:
    """Estimate -ELBO / n of all x, (n, 1), at covariates, (n, given_dim), with one w, in nats per data point."""
    C = torch.cat([torch.ones_like(x), given], dim=1)  # (n, 1 + given_dim)
    scale = pair.q["log_s"].exp()
    eps = torch.randn_like(scale)
    w = pair.q["m"] + scale * (eps + pair.q["A"].tril(-1) @ eps)
    log_likelihood = -F.binary_cross_entropy_with_logits(C @ w, x.squeeze(-1), reduction="sum")
    log_prior = -(w / pair.prior_scale).square() / 2 - math.log(pair.prior_scale)
    log_q = -eps.square() / 2 - scale.log()  # without the constant, which cancels that of the prior
    return ((log_q - log_prior).sum() - log_likelihood) / len(x)
