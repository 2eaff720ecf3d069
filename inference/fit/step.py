"""How a step is run: by Pyro, as the graph of one traced step, or as that graph compiled."""

import time
import warnings
from collections.abc import Callable
from typing import Literal

from torch import Tensor

from inference.fit.constants import changing_place
from inference.fit.graph import UntraceableError, fused, traced
from inference.fit.updates import Updates
from inference.fit.whole_step import WholeSteps, compile_whole_steps
from inference.pairs.pair import Pair
from inference.pairs.run import same_buffers

__all__ = ["COMPILE_STEPS", "TRACE_STEPS", "Mode", "choose_mode", "prepare_step"]

Mode = Literal["pyro", "graph", "compiled"]
Step = Callable[..., tuple[Tensor, ...]]

TRACE_STEPS = 200  # below, tracing the step takes longer than it saves
COMPILE_STEPS = 5000  # below, compiling it for the first time does, if two fits share that time


def choose_mode(engine: Mode | Literal["auto"], steps: int) -> Mode:
    """Return how a fit of that many steps is run: as `engine` states, which "auto" leaves to the number of steps."""
    if engine != "auto":
        return engine
    return "compiled" if steps >= COMPILE_STEPS else "graph" if steps >= TRACE_STEPS else "pyro"


def prepare_step(
    pair: Pair,
    step: Step,
    mode: Mode,
    args: tuple[Tensor, ...],
    updates: Updates | None = None,
    seconds: dict[str, float] | None = None,
    most: int = 1,
) -> tuple[Step, WholeSteps | None]:
    """Return `step` in the form that runs it in a mode, for arguments of the shapes of `args`.

    Before it is traced, the step is run with all of Pyro's checks, and run again to see that it does the same. Random
    generators and the buffers of the pair are left as they were.

    A step that cannot be traced is returned as it is, with a warning that names the line: Pyro then runs every step. So
    is one that depends on a number of Python or numpy that changes from call to call, such as a counter, a schedule or
    noise of `np.random`, and one that replaces a buffer by another tensor: a graph would keep what it was at first.

    :param updates: what follows a step, compiled with it where the model is small
    :param seconds: gets the time of "tracing" and, where the graph is compiled or its library loaded, of "compiling"
    :param most: the largest number of steps with their updates in a call
    :return: the step; and the compiled steps with their updates, or None
    """
    if mode == "pyro":
        return step, None
    seconds, start = {} if seconds is None else seconds, time.perf_counter()
    try:
        with same_buffers(pair):
            _check_constants(pair, step, args)
            graph = traced(step, args)
    except UntraceableError as error:
        warnings.warn(f"a step of {type(pair).__name__} {error}. Pyro runs every step, which is slower.", stacklevel=3)
        return step, None
    seconds["tracing"] = time.perf_counter() - start
    if mode == "graph":
        return graph, None
    whole = None if updates is None else compile_whole_steps(graph, args, updates, most)
    prepared = (fused(graph, args) if whole is None else graph), whole
    seconds["compiling"] = time.perf_counter() - start - seconds["tracing"]
    return prepared


def _check_constants(pair: Pair, step: Step, args: tuple[Tensor, ...]) -> None:
    """:raises UntraceableError: if a graph of the step would keep a number or a buffer that changes"""
    buffers = dict(pair.named_buffers())

    def run(*args: Tensor) -> None:
        with same_buffers(pair):
            step(*args)

    try:
        place = changing_place(run, args, [*pair.parameters(), *buffers.values()])
    except NotImplementedError as error:
        if "HigherOrderOperator" not in str(error):
            raise
        raise UntraceableError("has an operator of functions, such as torch.cond; use torch.where") from error
    replaced = [name for name, buffer in pair.named_buffers() if buffer is not buffers.get(name)]
    if replaced:
        raise UntraceableError(f"replaces the buffer {replaced[0]}; update it in place, as by add_ or copy_")
    if place is not None:
        raise UntraceableError(
            f"depends on a number of Python or numpy that changes from call to call, at {place}; hold it in a buffer, "
            "and draw noise from torch's generator"
        )
