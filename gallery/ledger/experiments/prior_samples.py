"""The evidence from draws of the prior, and how that fails as the latent space grows.

log p(x) = log E_p(z) p(x | z), so the mean of p(x | z) over S draws of the prior is unbiased for p(x), and its
logarithm is too low. Of d factors a draw has to fall near the posterior in all d of them: for a given error S grows
exponentially in d. This is what a guide is for. Factor analysis knows log p(x), so the error is exact.
"""

import math
from collections.abc import Sequence

import torch

from gallery.models.factor_analysis import FactorAnalysis
from inference import sample

DATA_DIM, DATA, SIGMA = 32, 100, 0.5
CHUNK = 10_000  # draws at a time


def prior_samples(
    factors: Sequence[int] = (1, 2, 4, 8, 16, 32), counts: Sequence[int] = (10, 100, 1000, 10_000, 100_000)
) -> dict[int, dict[str, list[float]]]:
    """{number of factors: {"draws", "error": the estimate less log p(x), and its "se" over data, nats per data point}}.

    Of every width one model, W ~ Normal(0, 1 / d), so that x varies alike in all of them, sigma = SIGMA, and DATA data
    of its own, all judged by the same draws.
    """
    found = {}
    for d in factors:
        with torch.random.fork_rng():
            torch.manual_seed(d)
            pair = FactorAnalysis(DATA_DIM, d).double()
            with torch.no_grad():
                pair.theta["W"].div_(math.sqrt(d))
                pair.theta["pre_sigma"].fill_(math.log(math.expm1(SIGMA)))
                x = sample(pair, torch.zeros(1, DATA_DIM, dtype=torch.float64), DATA, seed=None)["x"]
                exact = pair.log_evidence(x)
                errors = [_estimate(pair, x, count) - exact for count in counts]
        found[d] = {
            "draws": list(counts),
            "error": [error.mean().item() for error in errors],
            "se": [(error.std() / math.sqrt(DATA)).item() for error in errors],
        }
    return found


def _estimate(pair: FactorAnalysis, x: torch.Tensor, count: int) -> torch.Tensor:
    """log of the mean of p(x | z) over so many draws of the prior, (n,) in nats."""
    parts = []
    for start in range(0, count, CHUNK):
        z = torch.randn(min(CHUNK, count - start), pair.latent_dim, dtype=x.dtype)
        distance = torch.cdist(z @ pair.theta["W"].T / pair.sigma, x / pair.sigma)  # (draws, n)
        parts.append((-distance.square() / 2).logsumexp(0))
    return torch.stack(parts).logsumexp(0) - math.log(count) - (pair.sigma * math.sqrt(2 * math.pi)).log().sum()
