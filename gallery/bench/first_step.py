"""The first compiled step of a process, as a script: its seconds as JSON.

    python -m gallery.bench.first_step factor_analysis

It counts from a pair and its data, in memory, to the loss of the first step: the checks of the fit, tracing, compiling
or loading the compiled step, and the step. The start of the process and its imports are not in it.
"""

import json
import sys
import time

from gallery.bench.cases import case
from inference import SVI
from inference.pairs.streams import seeded

__all__ = ["first_step"]


def first_step(name: str) -> dict[str, float]:
    """Make the first step of a fit of a case, compiled.

    :return: "first_step", in seconds, of which "tracing" and "compiling", which is loading where the step is on disk
    """
    chosen = case(name)
    with seeded(0, "bench"):
        (x, given), pair = chosen.load(), chosen.build()
    start = time.perf_counter()
    fit = SVI(pair, x, given, chosen.fit(engine="compiled"))
    fit.train_step().item()
    return {"first_step": time.perf_counter() - start, **fit.runner.seconds}


if __name__ == "__main__":
    print(json.dumps(first_step(sys.argv[1])))
