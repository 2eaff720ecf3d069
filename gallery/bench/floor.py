"""What a step costs at the least: its matrix products, forward and backward, and nothing else.

They are read off the graph of the step, whatever the pair: the graph is run once, and the operands of each product are
kept as they are, with their strides and shared where the step shares them. Results go where they went then.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx

from gallery.bench.stock import Turn
from inference import SVI
from inference.fit.graph import traced

PRODUCTS = {getattr(torch.ops.aten, name).default: getattr(torch, name) for name in ("mm", "addmm", "bmm", "baddbmm")}


class _Recorder(fx.Interpreter):
    def call_function(self, target, args, kwargs):
        result = super().call_function(target, args, kwargs)
        if target in PRODUCTS:
            self.products.append((PRODUCTS[target], args, {**kwargs, "out": result}))
        return result


def products(svi: SVI) -> list[tuple]:
    """(function, operands, keywords) of every matrix product in a step of this fit.

    :raises UntraceableError: if the step is not a graph
    """
    rows = svi.rows(0)
    return recorded(svi.loss.gradients, svi.loss.step_arguments(rows))


def recorded(run: Callable[..., tuple[Tensor, ...]], args: tuple[Tensor, ...]) -> list[tuple]:
    """(function, operands, keywords) of every matrix product in `run(*args)`.

    :raises UntraceableError: if that is not a graph
    """
    recorder = _Recorder(traced(run, args))
    recorder.products = []
    with torch.no_grad(), torch.random.fork_rng():
        recorder.run(*args)
    return recorder.products


def operations(found: Sequence[tuple]) -> int:
    """Multiplications and additions in these products, the additions of biases excepted."""
    return sum(2 * math.prod(keywords["out"].shape) * operands[-1].shape[-2] for _, operands, keywords in found)


def turn(found: Sequence[tuple]) -> Turn:
    """Steps of these products alone, of no loss; on a GPU captured once and replayed."""

    @torch.no_grad()
    def step() -> None:
        for function, operands, keywords in found:
            function(*operands, **keywords)

    run = step
    if found and found[0][2]["out"].is_cuda:
        step()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        run = graph.replay

    def steps(count: int) -> list[float]:
        for _ in range(count):
            run()
        return [math.nan] * count

    return steps
