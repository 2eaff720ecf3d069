"""What all rows of a comparison share: how work is counted, how a fit is followed, and the final evaluation.

Work is counted in passes: one data point once through model and guide, forwards and backwards. A step of SVI takes rows
of the minibatch x draws of the guide x cases of enumerated sites; a gradient of NUTS takes all the data, and so does an
iteration of EM. Of Pathfinder an evaluation without gradient counts too. Gradients are evaluations of the gradient of
log p(x, z), whatever the rows: a step of SVI takes draws x cases. The work and the seconds of evaluation are not
counted, nor those that complete a guide after its fit (laplace, semi_amortised). Seconds are those of the processor,
because rows that run side by side wait for each other; on a GPU they are wall-clock seconds.
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
from inference.evaluation.reference import mean_error
from inference.fit.em import em
from inference.fit.objectives import samples_enumerated
from inference.fit.svi import SVI
from inference.pairs.handlers import FittedRows
from inference.pairs.info import inspect_pair
from inference.pairs.run import arguments, eval_mode

__all__ = [
    "clock",
    "error_curve",
    "exact_evidence",
    "final_evaluation",
    "follow",
    "follow_em",
    "passes_per_step",
    "posterior_error",
    "posterior_rows",
]

CURVE_POINTS = 40
POSTERIOR_ROWS = 100  # data points whose guide is compared with the exact posterior


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


def _recorded(total: int) -> list[int]:
    """Return the steps after which a curve has a point, CURVE_POINTS of them at most, dense at the start."""
    return sorted({round(total * (i / CURVE_POINTS) ** 2) for i in range(1, CURVE_POINTS + 1)} - {0})


def _follow_steps(
    run: Callable[[int], object], total: int, work_of_step: dict[str, int], monitor: Callable[[], dict[str, float]]
) -> list[dict[str, float]]:
    """Run the steps, and record the curve before the first and after CURVE_POINTS of them.

    :param run: runs a number of steps
    :param work_of_step: by name, such as "passes"
    :param monitor: the numbers to record; their seconds are not counted
    """
    curve: list[dict[str, float]] = [{"step": 0, "seconds": 0.0, **dict.fromkeys(work_of_step, 0), **monitor()}]
    for step in _recorded(total):
        begun, before = clock(), curve[-1]
        run(step - int(before["step"]))
        seconds = before["seconds"] + clock() - begun
        work = {name: step * value for name, value in work_of_step.items()}
        curve.append({"step": step, "seconds": seconds, **work, **monitor()})
    return curve


def follow(svi: SVI, x: Tensor, given: Tensor | None = None, seed: int = 0) -> list[dict[str, float]]:
    """Train by SVI, and return the curve on x.

    :return: points with "step", "seconds", "passes", "gradients", `monitor_elbo` and, where the posterior is known,
        "error", the `mean_error` of the guide
    """

    rows = posterior_rows(svi.pair, x, given)

    def monitor() -> dict[str, float]:
        with FittedRows():  # a guide with parameters for each data point is compared on the training data
            error, bounds = mean_error(svi.pair, *rows), monitor_elbo(svi.pair, x, given, seed)
        return bounds | ({} if error is None else {"error": error})

    passes = passes_per_step(svi)
    return _follow_steps(svi.run, svi.steps, {"passes": passes, "gradients": passes // svi.batch_size}, monitor)


def posterior_rows(pair: Pair, x: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return the data whose posterior is compared: all where a latent is global, else the first POSTERIOR_ROWS."""
    joint = inspect_pair(pair, arguments(pair, x, given)).has_global_latent
    rows = slice(None if joint else POSTERIOR_ROWS)
    return x[rows], None if given is None else given[rows]


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
    return _follow_steps(lambda n: [next(steps) for _ in range(n)], iterations, {"passes": len(train[0])}, monitor)


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
    """Compare the means and sds of draws with those of the exact posterior of the same latent.

    :param summary: of one site, from `nuts` or `pathfinder`
    :return: over all coordinates "largest_z", the largest distance of a mean in Monte Carlo standard errors;
        "largest_error", the largest in standard deviations of the posterior; "largest_sd_error", that of an sd
    """
    away, sd, varies = (summary["mean"] - posterior.mean).abs(), posterior.variance.sqrt(), ~summary["constant"]
    return {
        "largest_z": (away / summary["mcse"])[varies].max().item(),
        "largest_error": (away / sd)[varies].max().item(),
        "largest_sd_error": ((summary["sd"] - sd).abs() / sd)[varies].max().item(),
    }


def error_curve(draws: Tensor, gradients_at: Tensor, posterior: Distribution) -> list[dict[str, float]]:
    """Return the error of the mean of the first draws of all chains, as `mean_error`, for more and more of them.

    :param draws: (chains, draws, ...) of one site, from `nuts`
    :param gradients_at: (chains, draws) gradient evaluations of each chain up to each draw
    :return: points with "step", the draws of each chain, "gradients" and "error"
    """
    mean, sd, curve = posterior.mean, posterior.variance.sqrt(), []
    for step in _recorded(draws.shape[1]):
        away = (draws[:, :step].flatten(0, 1).mean(0) - mean) / sd
        error = away.square().mean().sqrt().item()
        curve.append({"step": step, "gradients": int(gradients_at[:, step - 1].sum()), "error": error})
    return curve
