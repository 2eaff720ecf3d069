"""Estimates of the evidence from draws of the prior, and their error as the latent space grows.

log p(x) = log E_p(z) p(x | z), so the mean of p(x | z) over S draws of the prior is unbiased for p(x), and its
logarithm is biased downwards. A draw must fall near the posterior in each of the d factors, so the S that a given
error requires grows exponentially in d. A guide avoids this. The error is exact, since factor analysis has an exact
log p(x).
"""

import math
from collections.abc import Sequence

import torch

from gallery.models.factor_analysis import FactorAnalysis
from inference import sample
from inference.pairs.streams import seeded

__all__ = ["prior_samples"]

DATA_DIM, DATA, SIGMA = 32, 100, 0.5
CHUNK = 10_000  # draws at a time


def prior_samples(
    factors: Sequence[int] = (1, 2, 4, 8, 16, 32), counts: Sequence[int] = (10, 100, 1000, 10_000, 100_000)
) -> dict[int, dict[str, list[float]]]:
    """Estimate log p(x) from draws of the prior, for several numbers of factors d and of draws.

    Each d has one model, with W ~ Normal(0, 1 / d), so that x has the same scale for all d, and sigma = SIGMA. Its DATA
    data points are drawn from it and evaluated with common draws of the prior.

    :return: {d: {"draws", "error": estimate minus log p(x), "se": its standard error over data}}, nats per data point
    """
    result: dict[int, dict[str, list[float]]] = {}
    for d in factors:
        with seeded(d, "prior_samples"):
            pair = FactorAnalysis(DATA_DIM, d).double()
            with torch.no_grad():
                pair.theta["W"].div_(math.sqrt(d))
                pair.theta["pre_sigma"].fill_(math.log(math.expm1(SIGMA)))
                x = sample(pair, torch.zeros(1, DATA_DIM, dtype=torch.float64), DATA, seed=None)["x"]
                exact = pair.log_evidence(x)
                errors = [_estimate(pair, x, count) - exact for count in counts]
        result[d] = {
            "draws": list(counts),
            "error": [error.mean().item() for error in errors],
            "se": [(error.std() / math.sqrt(DATA)).item() for error in errors],
        }
    return result


def _estimate(pair: FactorAnalysis, x: torch.Tensor, count: int) -> torch.Tensor:
    """Return the log of the mean of p(x | z) over `count` draws of the prior, (n,) in nats."""
    parts = []
    for start in range(0, count, CHUNK):
        z = torch.randn(min(CHUNK, count - start), pair.latent_dim, dtype=x.dtype)
        distance = torch.cdist(z @ pair.theta["W"].T / pair.sigma, x / pair.sigma)  # (draws, n)
        parts.append((-distance.square() / 2).logsumexp(0))
    return torch.stack(parts).logsumexp(0) - math.log(count) - (pair.sigma * math.sqrt(2 * math.pi)).log().sum()
