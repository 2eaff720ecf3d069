"""The metrics of the ledger for sequences: the bound per step, and the bounds of a particle filter."""

import torch

from data import Dataset
from gallery.models._nn import steps_within
from inference import Pair, eval_mode, evaluate, log_weights
from inference.evaluation.estimate import Estimate
from inference.evaluation.particle_filter import estimate_fivo
from inference.pairs.capabilities import capability

__all__ = ["FILTERED", "PARTICLES", "elbo_per_step", "filtered"]

STEP_DRAWS = 16  # of the guide for each sequence
FILTERED, PARTICLES = 200, 16  # sequences and particles of the bounds of a particle filter


def elbo_per_step(pair: Pair, test: Dataset, seed: int = 0) -> dict[str, dict]:
    """Return the ELBO of all sequences over the number of their steps as "elbo_per_step", in nats per step.

    The standard error is that of a ratio of means.
    """
    steps = steps_within(test.x, capability(pair, "step_dim")).sum(1).to(test.x)
    with eval_mode(pair, seed, "elbo_per_step"):
        elbo = torch.stack([log_weights(pair, test.x, test.given)[0] for _ in range(STEP_DRAWS)]).mean(0)
    mean = elbo.sum() / steps.sum()
    deviations = (elbo - mean * steps) / steps.mean()
    return {"elbo_per_step": Estimate.of_mean(mean + deviations, "nats per step", draws=STEP_DRAWS)}


def filtered(pair: Pair, test: Dataset, seed: int = 0) -> dict[str, dict]:
    """Return "filtered": "elbo", "iwae" and "fivo" of the first test data, with as many draws as particles.

    In expectation the ELBO is at most IWAE-k, and both are at most log p(x), as FIVO-k is.
    """
    few = test.head(FILTERED)
    bounds = evaluate(pair, few.scored(), few.given, particles=PARTICLES, seed=seed)
    fivo = estimate_fivo(pair, few.scored(), few.given, PARTICLES, seed)
    return {"filtered": {"elbo": bounds["elbo"], "iwae": bounds["iwae"], "fivo": fivo}}
