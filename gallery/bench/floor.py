"""The least cost of a step: its matrix products, forward and backward, and nothing else.

They are read off the graph of the step of any pair. The graph is run once, and the operands of each product are kept
with their strides, and shared where the step shares them. The results are written to the same memory.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx

from gallery.bench.stock import Stepper
from inference import SVI
from inference.fit.graph import traced

__all__ = ["operations", "products", "record_products", "stepper"]

PRODUCTS = {getattr(torch.ops.aten, name).default: getattr(torch, name) for name in ("mm", "addmm", "bmm", "baddbmm")}


class _Recorder(fx.Interpreter):
    products: list[tuple]

    def call_function(self, target, args, kwargs):
        result = super().call_function(target, args, kwargs)
        if target in PRODUCTS:
            self.products.append((PRODUCTS[target], args, {**kwargs, "out": result}))
        return result


def products(svi: SVI) -> list[tuple]:
    """Return (function, operands, keywords) of every matrix product in a step of a fit.

    :raises UntraceableError: if the step cannot be traced as a graph
    """
    rows = svi.rows(0)
    return record_products(svi.loss.gradients, svi.loss.step_arguments(rows))


def record_products(run: Callable[..., tuple[Tensor, ...]], args: tuple[Tensor, ...]) -> list[tuple]:
    """Return (function, operands, keywords) of every matrix product in `run(*args)`.

    :raises UntraceableError: if it cannot be traced as a graph
    """
    recorder = _Recorder(traced(run, args))
    recorder.products = []
    with torch.no_grad(), torch.random.fork_rng():
        recorder.run(*args)
    return recorder.products


def operations(calls: Sequence[tuple]) -> int:
    """Count multiplications and additions in matrix products, without the additions of biases."""
    return sum(2 * math.prod(keywords["out"].shape) * operands[-1].shape[-2] for _, operands, keywords in calls)


def stepper(calls: Sequence[tuple]) -> Stepper:
    """Return steps of matrix products alone, whose loss is NaN; on a GPU captured once and replayed."""

    @torch.no_grad()
    def step() -> None:
        for function, operands, keywords in calls:
            function(*operands, **keywords)

    run = step
    if calls and calls[0][2]["out"].is_cuda:
        step()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        run = graph.replay

    def take_steps(count: int) -> list[float]:
        for _ in range(count):
            run()
        return [math.nan] * count

    return take_steps
