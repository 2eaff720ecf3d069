"""Time IWAE-k with large k: a tile of draws times data points, beside its matrix products alone.

The products are those of the guide, once for each data point, and those of the model, once for each draw. A tile is the
block of rows that is evaluated at a time. Its size does not depend on the number of data points: it bounds the memory.
"""

import statistics
import time
from typing import Any

from torch import Tensor

from gallery.bench import floor
from gallery.bench.cases import Case
from inference import Pair, eval_mode
from inference.evaluation.log_weights import COMPILE_TILES, importance_terms
from inference.pairs.run import arguments
from inference.pairs.streams import seeded

__all__ = ["products", "time_iwae"]

ROUNDS = 3


def products(pair: Pair, args: tuple[Tensor, ...], k: int) -> list[tuple]:
    """Return the matrix products of the log-weights of k draws for each data point; to be called in `eval_mode`."""

    def run(x: Tensor, given: Tensor | None = None) -> tuple[Tensor, ...]:
        return tuple(importance_terms(pair, x, given, k).values())

    return floor.record_products(run, args)


def time_iwae(case: Case) -> dict[str, Any]:
    """Time IWAE-k of a case after its compilation, with the k draws of one data point evaluated together.

    :return: "ms_iwae" and "ms_iwae_floor" (its matrix products alone), in milliseconds per data point, medians over
        ROUNDS; "iwae_times_floor", their ratio; "iwae_spread", the least and the greatest of both; and "iwae_k"
    """
    with seeded(0, "bench"):
        (x, given), pair, k = case.load(), case.build(), case.iwae
    args = arguments(pair, x, given)
    few, many = COMPILE_TILES, 2 * COMPILE_TILES  # both compile, and differ in the number of tiles only

    def seconds(n: int) -> float:
        start = time.perf_counter()
        importance_terms(pair, x[:n], None if given is None else given[:n], k, at_a_time=k)
        return time.perf_counter() - start

    with eval_mode(pair):
        take_steps, ours, floors = floor.stepper(products(pair, tuple(a[:1] for a in args), k)), [], []
        seconds(few)  # compiles
        for _ in range(ROUNDS):
            ours.append((seconds(many) - seconds(few)) / (many - few))
            start = time.perf_counter()
            take_steps(COMPILE_TILES)
            floors.append((time.perf_counter() - start) / few)
    ms, least = (1e3 * statistics.median(times) for times in (ours, floors))
    spread = {name: [1e3 * min(t), 1e3 * max(t)] for name, t in (("iwae", ours), ("iwae_floor", floors))}
    ratio = {"ms_iwae": ms, "ms_iwae_floor": least, "iwae_times_floor": ms / least}
    return {**ratio, "iwae_spread": spread, "iwae_k": k}
