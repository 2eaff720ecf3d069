"""The bound of a particle filter on the evidence of each sequence."""

import torch
from torch import Tensor

from inference.counts import whole_number
from inference.evaluation.estimate import Estimate
from inference.evaluation.log_weights import MAX_ROWS
from inference.fit.objectives.filtering import ParticleFilter
from inference.pairs.handlers import SetRows
from inference.pairs.info import inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.run import arguments, eval_mode

__all__ = ["estimate_fivo", "fivo"]

FILTERS = 4  # of each sequence, whose bounds differ by the Monte Carlo error


def fivo(
    pair: Pair, x: Tensor, given: Tensor | None = None, k: int = 16, filters: int = 1, at_a_time: int = MAX_ROWS
) -> Tensor:
    """Compute the bound FIVO-k of each sequence in nats: the log of a particle filter's estimate of p(x).

    The guide is the proposal; draws of any kind will do. The mean of exp(FIVO-k) is p(x), and k = 1 is a one-draw ELBO.
    Call it inside `eval_mode`.

    Maddison et al., Filtering variational objectives, 2017.

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :param k: number of particles of each sequence
    :param filters: number of independent particle filters of each sequence
    :param at_a_time: rows, sequences times particles, that are run together: bounds the memory
    :return: (filters, n)
    :raises InferenceError: if k < 1, or model and guide have no steps that a particle filter can follow
    """
    k, filters = whole_number(k, "k, the number of particles,"), whole_number(filters, "filters")
    args, n, width = arguments(pair, x, given), len(x), max(1, at_a_time // (filters * k))
    info, estimator = inspect_pair(pair, args), ParticleFilter(k, num_particles=filters)
    estimator.check(info.model, info.guide)
    parts = []
    for rows in torch.arange(n, device=x.device).split(width):
        with SetRows(rows):
            bound, _ = estimator.bounds(pair.model, pair.guide, *(a[rows] for a in args), total=n)
        parts.append(bound)
    return torch.cat(parts, 1)


def estimate_fivo(
    pair: Pair, x: Tensor, given: Tensor | None = None, k: int = 16, seed: int = 0, at_a_time: int = MAX_ROWS
) -> Estimate:
    """Estimate FIVO-k in nats per data point, in evaluation mode, from 4 particle filters (FILTERS) for each sequence.

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :param k: number of particles of each sequence
    :param seed: of the noise
    :param at_a_time: rows, sequences times particles, that are run together: bounds the memory
    :raises InferenceError: if k < 1, or model and guide have no steps that a particle filter can follow
    """
    with eval_mode(pair, seed, "fivo"):
        return Estimate.of_draws(fivo(pair, x, given, k, FILTERS, at_a_time), len(x), k=k)
