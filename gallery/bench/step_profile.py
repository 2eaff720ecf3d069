"""The parts of a compiled step on the CPU: products, noise, the update, the other kernels, and what is outside of them.

The compiled step is built once more, with a record at each of its kernels and calls of torch, and run under torch's
profiler. Shares are of the time of the steps. A record takes time too, so the step of a small model is longer there.
The update of a small model is part of its kernels.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from torch.profiler import ProfilerActivity, profile

from gallery.bench.cases import Case
from gallery.errors import RunError
from inference import SVI
from inference.fit import library
from inference.pairs.streams import seeded

__all__ = ["PARTS", "part_of", "profile_step"]

WARMUP = 5
RECORD = "cpp.enable_kernel_profile"
PARTS: dict[str, tuple[str, ...]] = {
    "other kernels": ("cpp_fused", "cpp_kernel"),  # first: the name of a kernel lists the operators around it
    "products": ("mm", "linear"),
    "noise": ("rand", "normal", "uniform", "bernoulli", "exponential", "gamma", "multinomial"),
    "update": ("adam", "optimizer"),
}
"""What the name of a record contains, in this order; records of other names are "other calls"."""


def part_of(record: str) -> str:
    """Return the part of a step that a record of the profiler belongs to.

    >>> part_of("aoti_torch_cpu_addmm_out"), part_of("graph_0_cpp_fused_addmm_relu_0"), part_of("aten::copy_")
    ('products', 'other kernels', 'other calls')
    """
    return next((part for part, words in PARTS.items() if any(word in record.lower() for word in words)), "other calls")


def profile_step(case: Case, seconds: float = 2.0) -> dict[str, float]:
    """Return the share of each part in the time of a compiled step, with "Python and calls", the time in no record.

    :param seconds: for which steps are profiled
    :raises RunError: if the fit is not on the CPU
    """
    if case.fit().torch_device().type != "cpu":
        raise RunError("a step is profiled on the CPU alone: set CUDA_VISIBLE_DEVICES to nothing.")
    with seeded(0, "bench"):
        (x, given), pair = case.load(), case.build()
    fit = SVI(pair, x, given, case.fit(engine="compiled"))
    with _recorded():
        _run(fit, WARMUP)
    start = time.perf_counter()
    _run(fit, WARMUP)
    steps = max(1, round(seconds * WARMUP / (time.perf_counter() - start)))
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it logs that there is no GPU
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        start = time.perf_counter()
        _run(fit, steps)
        whole = time.perf_counter() - start
    shares = dict.fromkeys([*PARTS, "other calls"], 0.0)
    for event in profiled.key_averages():
        shares[part_of(event.key)] += 1e-6 * event.self_cpu_time_total / whole
    return shares | {"Python and calls": 1 - sum(shares.values())}


def _run(fit: SVI, steps: int) -> None:
    end = fit.step + steps
    while fit.step < end:
        fit.train_steps(end - fit.step)


@contextmanager
def _recorded() -> Iterator[None]:
    """Compile steps with a record at each kernel and call; their libraries are others than those of fits."""
    library.OPTIONS[RECORD] = True
    try:
        yield
    finally:
        del library.OPTIONS[RECORD]
