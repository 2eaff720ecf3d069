"""What IWAE-k of many draws costs: the time of a tile of draws times data, beside that of its matrix products alone.

The products are those of the guide, once for each datum, and those of the model, once for each draw. A tile is what is
evaluated at a time, so many rows, whatever the number of data: it bounds the memory.
"""

import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn

from gallery.bench import floor
from gallery.bench.cases import Case
from inference import eval_mode
from inference.evaluation.log_weights import COMPILE_TILES, importance_terms
from inference.pairs.run import arguments

ROUNDS = 3


def products(pair: nn.Module, args: tuple[Tensor, ...], k: int) -> list[tuple]:
    """Of the log-weights of k draws for each of these data; inside `judging`."""
    return floor.recorded(lambda *args: tuple(importance_terms(pair, *args, k=k).values()), args)


def evaluation(case: Case) -> dict[str, Any]:
    """For IWAE-k of the case, after it is compiled: "ms_iwae" and "ms_iwae_floor", milliseconds per data point, medians of
    ROUNDS in turn; "iwae_times_floor", their ratio; and "iwae_k". A tile has the draws of one datum."""
    torch.manual_seed(0)
    (x, given), pair, k = case.load(), case.build(), case.iwae
    args = arguments(pair, x, given)
    few, many = COMPILE_TILES, 2 * COMPILE_TILES  # both compile, and differ by so many tiles alone

    def seconds(n: int) -> float:
        start = time.perf_counter()
        importance_terms(pair, *(a[:n] for a in args), k=k, at_a_time=k)
        return time.perf_counter() - start

    with eval_mode(pair):
        turn, ours, floors = floor.turn(products(pair, tuple(a[:1] for a in args), k)), [], []
        seconds(few)  # the compiler has seen it then
        for _ in range(ROUNDS):
            ours.append((seconds(many) - seconds(few)) / (many - few))
            start = time.perf_counter()
            turn(COMPILE_TILES)
            floors.append((time.perf_counter() - start) / few)
    ms, least = (1e3 * statistics.median(times) for times in (ours, floors))
    return {"ms_iwae": ms, "ms_iwae_floor": least, "iwae_times_floor": ms / least, "iwae_k": k}
