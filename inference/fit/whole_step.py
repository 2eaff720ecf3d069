"""Whole steps, gradient and update, several in one compiled call: for small models, whose step is overhead.

Such a step spends its time between the operators: in Python and in the optimiser. Here a loop over both is in one
library. What changes from step to step is computed before, for all steps of a call.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import torch
from torch import Tensor, fx, nn

from inference.fit.library import lift_tensors, load_library
from inference.fit.loop import Proxies, graph_of, inlined, looped, set_examples, written
from inference.fit.unrolled import with_small_unrolled
from inference.fit.updates import Updates

__all__ = ["MOST_STEPS", "MOST_WEIGHTS", "WholeSteps", "adam_rates", "compile_whole_steps"]

MOST_WEIGHTS = 20_000  # above, a step spends its time in products, and torch's own update is faster
MOST_STEPS = 50  # of a call


@dataclass(frozen=True)
class WholeSteps:
    """Compiled steps of Adam on the CPU.

    :param most: the largest number of steps of a call
    :param state: what they change: weights, moments, and the buffers that the pair updates
    :param call: the library, a function of all else
    """

    most: int
    state: list[Tensor]
    call: Callable[[list[Tensor]], Any]

    def run(self, done: Tensor, losses: Tensor, rates: Tensor, failed: Tensor, *args: Tensor) -> None:
        """Make steps. `done`, `losses`, `failed` and the state are changed together, after the last of them.

        :param done: scalar 0, which becomes the number of steps, an integer
        :param losses: (most,) gets their losses in nats per data point, in the type of the weights
        :param rates: (steps, 2) as `adam_rates` returns them
        :param failed: scalar, 1 from the first loss on that is not finite; no weights are updated from then on
        :param args: (steps, ...) what the gradients of each step take beside `failed`
        """
        inputs = (value.contiguous() for value in (rates, *args))  # the library reads them no further than these steps
        self.call([done, failed, losses, torch.full((), len(rates)), *inputs])


def compile_whole_steps(
    graph: fx.GraphModule, args: tuple[Tensor, ...], updates: Updates, most: int
) -> WholeSteps | None:
    """Compile steps of Adam on the CPU, gradient and update.

    :param graph: of a gradient, which takes `args`, (failed, rows, beta, ...), and returns (failed, loss, gradient of
        each parameter)
    :param updates: the optimiser and its parameters
    :param most: the largest number of steps of a call
    :return: None if the fit is not one for it, or if torch cannot compile it so
    """
    (output,) = graph.graph.find_nodes(op="output")
    gradients = output.args[0][2:]
    fitted = [p for p, gradient in zip(updates.parameters, gradients, strict=True) if gradient is not None]
    if not (updates.is_adam and fitted) or args[0].is_cuda or sum(p.numel() for p in fitted) > MOST_WEIGHTS:
        return None
    lifted, tensors = lift_tensors(with_small_unrolled(graph))
    constants = [tensor for tensor in tensors if not any(tensor is p for p in fitted)]
    if not all(type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided for tensor in constants):
        return None  # a sparse tensor, or the graph of a branch of torch.cond
    changed = {id(tensors[i - len(args)]) for i in written(lifted) if i >= len(args)}
    buffers = [tensor for tensor in constants if id(tensor) in changed]
    constants = [tensor for tensor in constants if id(tensor) not in changed]
    storages = {tensor.untyped_storage().data_ptr() for tensor in (*fitted, *buffers)}
    apart = len(storages) == len(fitted) + len(buffers)
    if not apart or any(tensor.untyped_storage().data_ptr() in storages for tensor in constants):
        return None  # an update in place would change another argument
    moments = updates.moments(fitted)
    state = [tensor.detach() for part in ([*fitted], *moments, buffers) for tensor in part]
    kept = [*state, *(tensor.detach() for tensor in constants)]
    examples = [torch.tensor(0), args[0], state[0].new_empty(most), torch.tensor(most)]
    examples += [value.new_empty(most, *value.shape) for value in (args[2].new_empty(2), *args[1:])]
    try:
        known = [*fitted, *buffers, *constants]
        order = [next(i for i, of in enumerate(known) if of is tensor) for tensor in tensors]
        loop = _loop(lifted, order, fitted, len(args), len(buffers), len(constants), updates)
        set_examples(loop, [*examples, *kept])
        library = load_library(loop, [*examples, *kept], optimise=True)
    except Exception:  # of any kind, from a compiler whose interface differs between versions
        return None
    return WholeSteps(most, state, lambda values: library([*values, *kept]))


def _loop(
    gradients: fx.GraphModule,
    order: list[int],
    fitted: list[nn.Parameter],
    args: int,
    buffers: int,
    constants: int,
    updates: Updates,
) -> fx.GraphModule:
    """Return the graph of the steps of a call.

    It takes (number of the step, failed, losses), (steps of the call, rates, args[1:]), weights, averages of gradients
    and of their squares, buffers, constants; and changes the first and all but the constants of the last.

    :param gradients: the graph of loss and gradient, whose tensors are arguments
    :param order: of each of these tensors, its number among weights, buffers, constants
    :param fitted: the parameters
    :param args: number of arguments of a step
    :param buffers: number of buffers that a step changes
    :param constants: number of other tensors
    """
    ends = [*accumulate(p.numel() for p in fitted)]

    def parts(flat: Any) -> Proxies:
        return [flat[end - p.numel() : end].view(p.shape) for end, p in zip(ends, fitted, strict=True)]

    def turn(carried: Proxies, old: Proxies, inputs: Proxies, others: Proxies) -> Proxies:
        i, failed, losses, flat = carried
        rates, *of_step = (value.index_select(0, i.view(1)).squeeze(0) for value in inputs[1:])
        new = [buffer.clone() for buffer in old]
        tensors = [*parts(flat[0]), *new, *others]
        failed, loss, *present = inlined(gradients, [failed, *of_step, *(tensors[k] for k in order)])
        gradient = torch.cat([value.reshape(-1) for value in present])
        flat = torch.where(failed == 0, _adam(flat, gradient, rates, updates), flat)
        kept = [torch.where(failed == 0, after, before) for before, after in zip(old, new, strict=True)]
        return [i + 1, failed, losses.scatter(0, i.view(1), loss.view(1)), flat, *kept]

    def run(scalars: Proxies, inputs: Proxies, *state: Proxies) -> Proxies:
        *of_fitted, old, others = state
        flat = torch.stack([torch.cat([value.reshape(-1) for value in part]) for part in of_fitted])
        last = looped("turn", "condition", [*scalars, flat, *old], [*inputs, *others])
        new = [*last[:3], *(value for k in range(3) for value in parts(last[3][k])), *last[4:]]
        for before, after in zip([*scalars, *chain(*of_fitted), *old], new, strict=True):
            before.copy_(after)
        return []

    def condition(carried: Proxies, old: Proxies, inputs: Proxies, others: Proxies) -> Proxies:
        return [carried[0] < inputs[0]]

    sizes = 4, buffers, 1 + args, constants
    graphs = {"turn": graph_of(turn, sizes), "condition": graph_of(condition, sizes)}
    return graph_of(run, (3, 1 + args, *[len(fitted)] * 3, buffers, constants), graphs)


def _adam(state: Any, gradient: Any, rates: Any, updates: Updates) -> Any:
    """Return (3, weights) weights and averages of gradients and of their squares after a step of Adam."""
    (beta1, beta2), weights, mean, square = updates.betas, state[0], state[1], state[2]
    mean = mean + (1 - beta1) * (gradient - mean)
    square = beta2 * square + (1 - beta2) * gradient * gradient
    return torch.stack([weights - rates[0] * mean / (square.sqrt() / rates[1] + updates.epsilon), mean, square])


def adam_rates(first: int, lrs: list[float], betas: tuple[float, float], dtype: torch.dtype) -> Tensor:
    """Return (number of steps, 2): learning rates and square roots, both corrected for the bias of the averages.

    :param first: number of the first of the steps, from 0
    :param lrs: learning rate of each step
    """
    numbers = range(first + 1, first + 1 + len(lrs))
    rates = [(lr / (1 - betas[0] ** i), math.sqrt(1 - betas[1] ** i)) for i, lr in zip(numbers, lrs, strict=True)]
    return torch.tensor(rates, dtype=dtype)
