"""How a step is run: eagerly by Pyro, as the graph of one traced step, or as that graph compiled."""

import warnings
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from inference.fit.graph import UntraceableError, fused, traced
from inference.pairs.pair import Pair
from inference.pairs.run import cuda_devices, same_buffers

__all__ = ["COMPILE_STEPS", "TRACE_STEPS", "Mode", "choose_mode", "prepare_step"]

Mode = Literal["eager", "graph", "compiled"]
Step = Callable[..., tuple[Tensor, ...]]

TRACE_STEPS = 200  # below, tracing the step takes longer than it saves
COMPILE_STEPS = 3000  # below, compiling it does


def choose_mode(compile: bool | None, steps: int) -> Mode:
    """Return how a fit of that many steps is run, where `compile` does not decide it."""
    if compile is not None:
        return "compiled" if compile else "eager"
    return "compiled" if steps >= COMPILE_STEPS else "graph" if steps >= TRACE_STEPS else "eager"


def prepare_step(pair: Pair, step: Step, mode: Mode, args: tuple[Tensor, ...]) -> Step:
    """Return `step` in the form that runs it in a mode, for arguments of the shapes of `args`.

    Before it is traced, the step is run once with all of Pyro's checks. Random generators and the buffers of the pair
    are left as they were. A step that cannot be traced is returned as it is, with a warning.
    """
    if mode == "eager":
        return step
    try:
        with same_buffers(pair):
            with torch.random.fork_rng(cuda_devices(pair)):
                step(*args)
            graph = traced(step, args)
    except UntraceableError as error:
        warnings.warn(f"a step of {type(pair).__name__} {error}. Pyro runs every step, which is slower.", stacklevel=3)
        return step
    return fused(graph, args) if mode == "compiled" else graph
