"""Fits of one pair with several seeds, whose steps run in one graph: for small models, whose step is overhead.

The graph of a step is split into its noise, which depends on no argument, and the rest. The noise of each fit is drawn
with the state of the random generators that the fit has alone. The rest runs once for all fits, by torch.vmap over
weights, data and noise. So losses and weights of each fit are those that it has alone, but for rounding.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from inference.errors import InferenceError
from inference.fit import distributed
from inference.fit.checkpoint import random_state, set_random_state
from inference.fit.library import lift_tensors
from inference.fit.svi import SVI
from inference.fit.whole_step import MOST_WEIGHTS
from inference.products import using_products

__all__ = ["SeveralFits", "can_be_joined"]

REMEDY = "Fit them one by one."


def can_be_joined(fit: SVI) -> bool:
    """Return whether a fit is one of a small model for all epochs, run as a graph in one process."""
    small = sum(parameter.numel() for parameter in fit.parameters) <= MOST_WEIGHTS
    return small and fit.convergence is None and fit.mode == "graph" and distributed.workers() == 1


class SeveralFits:
    """Several fits that make their steps together.

    From then on weights and buffers of the pairs are parts of the same tensors. A fit may go on alone at any step.

    >>> import torch
    >>> from inference import SVI, Settings
    >>> from inference.examples import LinearGaussian
    >>> settings = [Settings(epochs=2, batch_size=2, seed=seed, engine="graph") for seed in range(3)]
    >>> fits = [SVI(LinearGaussian(), torch.zeros(4, 1), settings=of) for of in settings]
    >>> SeveralFits(fits, [random_state() for _ in fits]).train_steps(2).shape
    torch.Size([3, 2])

    :param fits: at step 0
    :param noise: the state of the random generators of each, as `random_state` returns it
    :raises InferenceError: if the fits are not run as graphs, not small, not alike, or draw noise that depends on
        weights or data; they are left as they were
    """

    def __init__(self, fits: Sequence[SVI], noise: Sequence[dict[str, Tensor]]):
        if not all(map(can_be_joined, fits)):
            raise InferenceError("only fits of small models, run as graphs in one process, are joined.", REMEDY)
        self.fits, self.noise = list(fits), list(noise)
        lifted: list[tuple[fx.GraphModule, list[Tensor]]] = []
        for fit in fits:
            graph, _ = fit.runner.prepare()
            if not isinstance(graph, fx.GraphModule):
                raise InferenceError("a step cannot be traced.", REMEDY)
            lifted.append(lift_tensors(graph))
            if len(lifted) == 1:
                self._draw, rest = _split(lifted[0][0])
            elif lifted[-1][0].code != lifted[0][0].code or fit.steps != fits[0].steps:
                raise InferenceError("the fits have different steps.", REMEDY)
        columns = list(zip(*(tensors for _, tensors in lifted), strict=True))
        _check_storages(fits, columns)
        stacked = [torch.stack([tensor.detach() for tensor in column]) for column in columns]
        with torch.no_grad():
            args = [self._begin(k)[1] for k in range(len(fits))]
            batch = [torch.stack(column) for column in zip(*args, strict=True)]
            _silence_fallbacks()
            try:
                self._run = make_fx(torch.vmap(rest))(*batch, *(tensor.clone() for tensor in stacked))
            except (RuntimeError, NotImplementedError) as error:  # an operator that vmap does not know
                raise InferenceError(
                    f"a step cannot be batched ({str(error).splitlines()[0][:80]}).", REMEDY
                ) from error
        self._run.graph.eliminate_dead_code()
        self._run.recompile()
        self.noise, self._stacked = list(noise), stacked
        for column, together in zip(columns, stacked, strict=True):
            for tensor, part in zip(column, together, strict=True):
                tensor.data = part

    def train_steps(self, most: int) -> Tensor:
        """Run at most `most` of the steps that are left, of every fit.

        :return: (fits, steps) their losses in nats per data point
        :raises InferenceError: if a loss is not finite; the weights of that fit are then those before that step
        """
        first = self.fits[0]
        steps = min(most, first.runner.guard.room, first.steps - first.step)
        with using_products(first.products), torch.no_grad():
            return torch.stack([self._step() for _ in range(steps)], 1)

    @contextmanager
    def noise_of(self, k: int) -> Iterator[None]:
        """Run a block with the random generators of a fit; the global ones are restored on exit."""
        others = random_state()
        set_random_state(self.noise[k])
        try:
            yield
        finally:
            self.noise[k] = random_state()
            set_random_state(others)

    def _step(self) -> Tensor:
        before, args = zip(*map(self._begin, range(len(self.fits))), strict=True)
        failed, losses, *gradients = self._run(
            *(torch.stack(column) for column in zip(*args, strict=True)), *self._stacked
        )
        for k, fit in enumerate(self.fits):
            of_fit: list[Any] = [None if gradient is None else gradient[k] for gradient in gradients]
            fit.runner.end_step(before[k], failed[k], losses[k], of_fit)
        return losses

    def _begin(self, k: int) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        """Return the state of the generators before the step of a fit, and noise and arguments of the step."""
        with self.noise_of(k):
            before, args = self.fits[k].runner.begin_step()
            return before, (*self._draw(), *args)


def _silence_fallbacks() -> None:
    """Silence vmap's warnings of operators that it runs fit by fit: they are printed, and no filter reaches them."""
    with suppress(AttributeError):  # the switch is no public one
        torch._C._functorch._set_vmap_fallback_warning_enabled(False)  # type: ignore[attr-defined]


def _split(graph: fx.GraphModule) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Split a graph without constants in two: one without arguments, which draws the noise; and the rest.

    :return: the graph of the noise, which returns the tensors that are the first arguments of the rest
    :raises InferenceError: if noise depends on an argument
    """
    dependent: set[fx.Node] = set()
    random: set[fx.Node] = set()
    for node in graph.graph.nodes:
        if node.op == "placeholder" or any(of in dependent for of in node.all_input_nodes):
            dependent.add(node)
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            if node in dependent:
                raise InferenceError(f"{node.name} draws noise that depends on weights or data.", REMEDY)
            random |= {node, *(node.all_input_nodes if node.target._schema.is_mutable else ())}
        elif node not in dependent and any(of in random for of in node.all_input_nodes):
            random.add(node)
    drawn = [node for node in graph.graph.nodes if node in random and any(of in dependent for of in node.users)]
    noise, rest = fx.Graph(), fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.graph.nodes:
        if node not in dependent:
            copies[node] = noise.node_copy(node, copies.__getitem__)
    noise.output(tuple(copies[node] for node in drawn))
    noise.eliminate_dead_code()
    copies = {node: rest.placeholder(f"noise_{i}") for i, node in enumerate(drawn)}
    for node in graph.graph.nodes:
        if node not in random:
            copies[node] = rest.node_copy(node, copies.__getitem__)
    return fx.GraphModule({}, noise), fx.GraphModule({}, rest)


def _check_storages(fits: Sequence[SVI], columns: Sequence[tuple[Tensor, ...]]) -> None:
    """:raises InferenceError: if a constant of a step is a part of a weight or a buffer, and would not follow it"""
    for k, fit in enumerate(fits):
        own = {id(tensor) for tensor in (*fit.pair.parameters(), *fit.pair.buffers())}
        storages = [of[k].untyped_storage().data_ptr() for of in columns if of[k].numel()]
        held = {t.untyped_storage().data_ptr() for t in (*fit.pair.parameters(), *fit.pair.buffers()) if t.numel()}
        others = {of[k].untyped_storage().data_ptr() for of in columns if id(of[k]) not in own and of[k].numel()}
        if len(set(storages)) < len(storages) or others & held:
            raise InferenceError("a step holds a part of a weight or a buffer.", REMEDY)
