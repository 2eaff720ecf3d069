"""A whole step, gradient and update, in one compiled call: for small models, whose step is overhead.

Such a step spends its time between the operators: in Python and in the optimiser. Here both are in one library, and
what changes from step to step is computed for many steps together.
"""

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import GraphAppendingTracer

from inference.fit.library import compile_library, lift_tensors
from inference.fit.updates import Updates

__all__ = ["MOST_WEIGHTS", "adam_rates", "compile_whole_step"]

MOST_WEIGHTS = 20_000  # above, a step spends its time in products, and torch's own update is faster


def compile_whole_step(
    graph: fx.GraphModule, args: tuple[Tensor, ...], updates: Updates
) -> Callable[..., Tensor] | None:
    """Compile a step of Adam on the CPU: `step(rates, *args)` updates weights, moments and `args[0]`; returns the loss.

    :param graph: of a step, which takes `args`, (failed, ...), and returns (failed, loss, gradient of each parameter)
    :param updates: the optimiser and its parameters
    :return: a function of a row of `adam_rates` and of arguments of the shapes of `args`; None if the fit is not one
        for it, or if torch cannot compile it so
    """
    (output,) = graph.graph.find_nodes(op="output")
    gradients = output.args[0][2:]
    fitted = [p for p, gradient in zip(updates.parameters, gradients, strict=True) if gradient is not None]
    if not (updates.is_adam and fitted) or args[0].is_cuda or sum(p.numel() for p in fitted) > MOST_WEIGHTS:
        return None
    lifted, tensors = lift_tensors(graph)
    constants = [tensor for tensor in tensors if not any(tensor is p for p in fitted)]
    if not all(type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided for tensor in constants):
        return None  # a sparse tensor, or the graph of a branch of torch.cond
    storages = {p.untyped_storage().data_ptr() for p in fitted}
    if len(storages) < len(fitted) or any(tensor.untyped_storage().data_ptr() in storages for tensor in constants):
        return None  # an update in place would change another argument
    state = [[p.detach() for p in fitted], *updates.moments(fitted), [tensor.detach() for tensor in constants]]
    (beta1, beta2), epsilon, sizes = updates.betas, updates.epsilon, [len(args), *map(len, state)]

    nodes = fx.Graph()
    tracer = GraphAppendingTracer(nodes)
    remaining: Iterator[Any] = (fx.Proxy(nodes.placeholder(f"value_{i}"), tracer) for i in range(1 + sum(sizes)))
    rates = next(remaining)
    of_args, weights, means, squares, others = ([*islice(remaining, size)] for size in sizes)
    by_id = dict(zip(map(id, [*fitted, *constants]), [*weights, *others], strict=True))
    inputs = [*of_args, *(by_id[id(tensor)] for tensor in tensors)]
    placeholders = lifted.graph.find_nodes(op="placeholder")
    known = {node: value.node for node, value in zip(placeholders, inputs, strict=True)}
    copied: Any = nodes.graph_copy(lifted.graph, known)  # its outputs
    computed: list[Any] = [fx.Proxy(node, tracer) for node in copied if node is not None]
    failed, loss, *present = computed
    fine = failed == 0
    for weight, mean, square, gradient in zip(weights, means, squares, present, strict=True):
        new_mean = mean + (1 - beta1) * (gradient - mean)
        new_square = beta2 * square + (1 - beta2) * gradient * gradient
        change = rates[0] * new_mean / (new_square.sqrt() / rates[1] + epsilon)
        for old, new in ((weight, weight - change), (mean, new_mean), (square, new_square)):
            old.copy_(torch.where(fine, new, old))
    of_args[0].copy_(failed)
    nodes.output((loss.node,))
    flat = [tensor for part in state for tensor in part]
    try:
        with torch.random.fork_rng([]):
            first = torch.ones(2, dtype=args[2].dtype)
            call = compile_library(fx.GraphModule({}, nodes), (first, *args, *flat), optimise=True)
    except Exception:  # of any kind, from a compiler whose interface differs between versions
        return None
    return lambda rates, *args: call(rates, *args, *flat)[0]


def adam_rates(first: int, lrs: list[float], betas: tuple[float, float], dtype: torch.dtype) -> Tensor:
    """Return (number of steps, 2): learning rates and square roots, both corrected for the bias of the averages.

    :param first: number of the first of the steps, from 0
    :param lrs: learning rate of each step
    """
    numbers = range(first + 1, first + 1 + len(lrs))
    rates = [(lr / (1 - betas[0] ** i), math.sqrt(1 - betas[1] ** i)) for i, lr in zip(numbers, lrs, strict=True)]
    return torch.tensor(rates, dtype=dtype)
