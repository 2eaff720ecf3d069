"""The gap log p(x) - ELBO per data point, of a pair with exact evidence."""

import math

import torch
from torch import Tensor

from inference.errors import InferenceError
from inference.evaluation.log_weights import log_evidence, log_weights
from inference.pairs.handlers import FittedRows
from inference.pairs.pair import Pair
from inference.pairs.run import eval_mode

__all__ = ["evidence_gap"]


def evidence_gap(pair: Pair, x: Tensor, particles: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Estimate KL(q(z | x) || p(z | x)) = log p(x) - ELBO of each data point, in nats.

    With r = w / p(x), the mean of -log r under the guide is the gap. So is the mean of r - 1 - log r, because r has
    mean 1. The second estimator is never negative, and nearly constant for a good guide. For each data point the
    estimator with the lower variance is used; the second only if the draws confirm that mean, which the draws of a
    guide that misses a mode of the posterior do not.

    :param x: (n, ...); for a guide with parameters per data point, all its training data in their order
    :param particles: draws per data point
    :return: (gap, its Monte Carlo standard error), (n,) each
    :raises InferenceError: if the pair has no exact evidence
    """
    with FittedRows(), eval_mode(pair, seed, "evidence_gap"):
        evidence = log_evidence(pair, x)
        if evidence is None:
            raise InferenceError(
                f"a gap from the evidence needs the exact log p(x); {type(pair).__name__} has no method log_evidence."
            )
        log_r = log_weights(pair, x, k=particles).double() - evidence.double()
    excess = log_r.expm1()
    plain, controlled = -log_r, excess - log_r
    confirmed = excess.mean(0).abs() < 4 * excess.std(0) / math.sqrt(particles) + 1e-4
    draws = torch.where(confirmed & (controlled.std(0) < plain.std(0)), controlled, plain)
    return draws.mean(0), draws.std(0) / math.sqrt(particles)
