"""What all rows of a comparison share: how work is counted, how a fit is followed, and the final evaluation.

Work is counted in passes: one data point once through model and guide, forwards and backwards. A step of SVI takes rows
of the minibatch x draws of the guide x cases of enumerated sites; a gradient of NUTS takes all the data, and so does an
iteration of EM. The work and the seconds of evaluation are not counted. Seconds are those of the processor, because
rows that run side by side wait for each other; on a GPU they are wall-clock seconds.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution

from inference import Pair
from inference.evaluation.estimate import Estimate
from inference.evaluation.log_weights import log_evidence
from inference.evaluation.metrics import evaluate, monitor_elbo
from inference.fit.em import em
from inference.fit.objectives import samples_enumerated
from inference.fit.svi import SVI
from inference.pairs.info import inspect_pair
from inference.pairs.run import eval_mode

__all__ = [
    "clock",
    "exact_evidence",
    "final_evaluation",
    "follow",
    "follow_em",
    "passes_per_step",
    "posterior_error",
]

CURVE_POINTS = 40


def passes_per_step(svi: SVI) -> int:
    """Count the passes of data points through model and guide in one step of SVI, each forwards and backwards.

    A data point passes once for each particle and each combination of enumerated values, if they are not sampled.
    """
    with torch.random.fork_rng():
        info = inspect_pair(svi.pair, svi.loss.batch(svi.rows(0)))
    cases = 1 if samples_enumerated(svi.settings.objective) else info.n_cases
    return svi.batch_size * svi.loss.estimator.num_particles * cases


def clock() -> float:
    """Return the time in seconds, for differences: that of the processor for this process; on a GPU the wall-clock."""
    if not torch.cuda.is_initialized():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def _follow_steps(
    run: Callable[[int], object], total: int, passes_of_step: int, monitor: Callable[[], dict[str, float]]
) -> list[dict[str, float]]:
    """Run the steps, and record the curve before the first and after CURVE_POINTS of them, dense at the start.

    :param run: runs a number of steps
    :param monitor: the numbers to record; their seconds are not counted
    """
    recorded = {round(total * (i / CURVE_POINTS) ** 2) for i in range(1, CURVE_POINTS + 1)} - {0}
    curve, seconds, done = [{"step": 0, "seconds": 0.0, "passes": 0, **monitor()}], 0.0, 0
    for step in sorted(recorded):
        begun = clock()
        run(step - done)
        seconds, done = seconds + clock() - begun, step
        curve.append({"step": step, "seconds": seconds, "passes": step * passes_of_step, **monitor()})
    return curve


def follow(svi: SVI, x: Tensor, given: Tensor | None = None, seed: int = 0) -> list[dict[str, float]]:
    """Train by SVI, and return the curve on x: points with "step", "seconds", "passes" and `monitor_elbo`."""
    return _follow_steps(svi.run, svi.steps, passes_per_step(svi), lambda: monitor_elbo(svi.pair, x, given, seed))


def follow_em(
    pair: Pair, iterations: int, train: tuple[Tensor, Tensor | None], x: Tensor, given: Tensor | None = None
) -> list[dict[str, float]]:
    """Train by EM, and return the curve as `follow` does, of the exact evidence.

    :param train: (x, given) of the fit
    :return: "evidence" is that of x, and "train evidence" that of `train`, in nats per data point
    :raises InferenceError: if the model has no `e_step` and `m_step`
    """

    def monitor() -> dict[str, float]:
        with eval_mode(pair):
            named = {"evidence": (x, given), "train evidence": train}
            known = {name: log_evidence(pair, *of) for name, of in named.items()}
        return {name: value.mean().item() for name, value in known.items() if value is not None}

    steps = em(pair, train[0], iterations, train[1])
    next(steps)  # before the first iteration
    return _follow_steps(lambda n: [next(steps) for _ in range(n)], iterations, len(train[0]), monitor)


def exact_evidence(pair: Pair, x: Tensor, given: Tensor | None = None) -> Estimate | None:
    """Compute log p(x) in nats per data point, with its error over data; None if the model does not know it."""
    with eval_mode(pair):
        exact = log_evidence(pair, x, given)
    return None if exact is None else Estimate.of_draws(exact.reshape(1, -1), len(x), exact=True)


def final_evaluation(
    pair: Pair, x: Tensor, given: Tensor | None = None, k: int = 64, held_out: bool = True, seed: int = 0
) -> dict:
    """Evaluate a pair, and its "gap" where "evidence" and "elbo" are known.

    The gap is KL(guide || posterior) in nats per data point, with the Monte Carlo error at these data points.
    """
    result = evaluate(pair, x, given, k, seed, held_out)
    if {"evidence", "elbo"} <= result.keys():
        result["gap"] = Estimate.of_gap(result["evidence"], result["elbo"])
    return result


def posterior_error(summary: dict[str, Tensor], posterior: Distribution) -> dict[str, float]:
    """Compare the means of draws with those of the exact posterior of the same latent.

    :param summary: of one site, from `nuts`
    :return: over all coordinates "largest_z", the largest distance in Monte Carlo standard errors, and
        "largest_error", the largest in standard deviations of the posterior
    """
    away = (summary["mean"] - posterior.mean).abs()
    error = away / posterior.variance.sqrt()
    varies = ~summary["constant"]
    return {
        "largest_z": (away / summary["mcse"])[varies].max().item(),
        "largest_error": error[varies].max().item(),
    }
