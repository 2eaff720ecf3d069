"""What the rows of a comparison have in common: how work is counted, how a fit is followed, and how all are judged.

Work is counted in passes: a datum once through model and guide, forwards and backwards. A step of SVI takes rows of the
minibatch x draws of the guide x cases of what is summed out; a gradient of NUTS takes all the data, and so does an
iteration of EM. What is spent on judging is not counted, nor are its seconds. Seconds are those of the processor, for
rows that run side by side wait for each other; on a GPU those of the wall.
"""

import time
from collections.abc import Callable, Iterator
from itertools import islice

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from inference.evaluation.log_weights import log_evidence
from inference.evaluation.metrics import _estimate, evaluate, monitor_elbo
from inference.fit.em import em
from inference.fit.svi import SVI
from inference.pairs.info import inspect_pair
from inference.pairs.run import eval_mode

POINTS = 40  # of a curve


def passes(svi: SVI) -> int:
    """The work of one step: passes of a datum through model and guide, forwards and backwards."""
    with torch.random.fork_rng():
        cases = inspect_pair(svi.pair, svi.loss.batch(svi.rows(0))).n_cases
    return svi.batch_size * svi.loss.estimator.num_particles * cases


def clock() -> float:
    """Seconds that this process has computed for; on a GPU those of the wall."""
    if not torch.cuda.is_initialized():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def _followed(steps: Iterator, total: int, each: int, glanced: Callable[[], dict[str, float]]) -> list[dict]:
    """Goes through the steps; at POINTS of them, dense at the start, and before the first: "step", "seconds", "passes"
    and what `glanced` says, whose time is not counted."""
    at = {round(total * (i / POINTS) ** 2) for i in range(1, POINTS + 1)}
    curve, seconds, begun = [{"step": 0, "seconds": 0.0, "passes": 0, **glanced()}], 0.0, clock()
    for step, _ in enumerate(steps, start=1):
        if step in at:
            seconds += clock() - begun
            curve.append({"step": step, "seconds": seconds, "passes": step * each, **glanced()})
            begun = clock()
    return curve


def follow(svi: SVI, x: Tensor, given: Tensor | None = None) -> list[dict]:
    """Trains, and tells how the pair does on x: a list of {"step", "seconds", "passes", and what `glance` says}."""
    return _followed(iter(svi), svi.steps, passes(svi), lambda: monitor_elbo(svi.pair, x, given))


def follow_em(
    pair: nn.Module, iterations: int, train: tuple[Tensor, Tensor | None], x: Tensor, given: Tensor | None = None
) -> list[dict]:
    """The same of EM on `train`, (x, given): "evidence" is the exact one of x, and "train evidence" that of `train`.

    :raises InferenceError: if the model has no `e_step` and `m_step`
    """

    def glanced() -> dict[str, float]:
        with eval_mode(pair):
            named = {"evidence": (x, given), "train evidence": train}
            return {name: log_evidence(pair, *of).mean().item() for name, of in named.items()}

    steps = em(pair, train[0], iterations, train[1])
    next(steps)  # before the first iteration
    return _followed(islice(steps, iterations), iterations, len(train[0]), glanced)


def exact_evidence(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> dict | None:
    """log p(x) in nats per data point, with its standard error over data; None if the model does not know it."""
    with eval_mode(pair):
        exact = log_evidence(pair, x, given)
    return None if exact is None else _estimate(exact.reshape(1, -1), len(x), exact=True)


def judged(pair: nn.Module, x: Tensor, given: Tensor | None = None, k: int = 64, held_out: bool = True) -> dict:
    """`evaluate`, and where it has both, the "gap" of "evidence" and "elbo" in nats per data point: KL(guide || posterior),
    with the Monte Carlo error at these data."""
    result = evaluate(pair, x, given, k, held_out=held_out)
    if {"evidence", "elbo"} <= result.keys():
        elbo = result["elbo"]
        value = result["evidence"]["value"] - elbo["value"]
        result["gap"] = {"value": value} | {key: elbo[key] for key in ("mc_se", "n", "unit") if key in elbo}
    return result


def posterior_error(found: dict[str, Tensor], posterior: Distribution) -> dict[str, float]:
    """How far are means of draws, a `summary` of `nuts`, from those of the exact posterior of the same latent?

    :return: over all coordinates "largest_z", the largest distance in Monte Carlo standard errors, and
        "largest_error", the largest in standard deviations of the posterior
    """
    away = (found["mean"] - posterior.mean).abs()
    error = away / posterior.variance.sqrt()
    return {"largest_z": (away / found["mcse"]).max().item(), "largest_error": error.max().item()}
