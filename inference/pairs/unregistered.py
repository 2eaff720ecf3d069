"""Describe the parameters of a pair that a fit would leave as they are, since nothing registers them."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from inference.pairs.info import PairInfo
from inference.pairs.pair import Pair
from inference.pairs.run import cuda_devices, importance_traces, param_scope, same_buffers

__all__ = ["unregistered_faults"]


def unregistered_faults(pair: Pair, info: PairInfo) -> Iterator[str]:
    """Yield a sentence for each network whose parameters the loss depends on, and that is not registered.

    A tensor that the loss depends on and that is no parameter of the pair is another fault.
    """
    registered = {id(p) for of in (info.generative_parameters, info.inference_parameters) for p in of.values()}
    own = {id(p): name for name, p in pair.named_parameters()}
    leaves, again = _leaves_of_loss(pair, info), list[Tensor]()
    if any(id(leaf) not in own for leaf in leaves):
        again = _leaves_of_loss(pair, info)
    for leaf in leaves:
        if id(leaf) not in own and any(leaf is other for other in again):  # others are made within each run
            yield (
                f"{_place_of(pair, leaf)} would not be learnt: it requires a gradient and is no parameter of the pair, "
                "so no optimiser and no file of weights has it. Make it an nn.Parameter in an nn.ParameterDict, and a "
                "list of modules an nn.ModuleList."
            )
    used: dict[str, list[str]] = {}
    for leaf in leaves:
        if id(leaf) in own and id(leaf) not in registered:
            used.setdefault(own[id(leaf)].partition(".")[0], []).append(own[id(leaf)])
    for network, names in used.items():
        place = "in the model if it is generative and in the guide otherwise"
        remedy = f"pyro.module({network!r}, self.{network}), {place}"
        if names == [network]:
            remedy = "self.NAME = nn.ParameterDict(...) with it, and pyro.module('NAME', self.NAME)"
        yield f"{', '.join(names)} would not be learnt: used but not registered. Write {remedy}."


def _leaves_of_loss(pair: Pair, info: PairInfo) -> list[Tensor]:
    """Return the tensors by which the log-densities of model and guide have a gradient, parameters in their order."""
    args = tuple(a.detach() for a in info.args)
    with torch.random.fork_rng(cuda_devices(pair)), torch.enable_grad(), same_buffers(pair), param_scope():
        traces = importance_traces(pair, args)
        terms = [site["log_prob"].sum() for trace in traces for site in trace.nodes.values() if "log_prob" in site]
    found: dict[int, Tensor] = {}
    nodes, seen = [term.grad_fn for term in terms], set[object]()
    while nodes:
        if (node := nodes.pop()) is not None and node not in seen:
            seen.add(node)
            nodes += [after for after, _ in node.next_functions]
            if isinstance(leaf := getattr(node, "variable", None), Tensor):
                found[id(leaf)] = leaf
    order = {id(parameter): i for i, parameter in enumerate(pair.parameters())}
    return sorted(found.values(), key=lambda leaf: order.get(id(leaf), len(order)))


def _place_of(pair: Pair, tensor: Tensor) -> str:
    """Return the attribute of the pair that holds a tensor, or a module with it, or its shape."""
    for path, module in pair.named_modules():
        for name, value in vars(module).items():
            within = list(value.values()) if isinstance(value, dict) else value
            items = within if isinstance(within, list | tuple) else [within]
            parts = [part for item in items for part in (item.parameters() if isinstance(item, nn.Module) else [item])]
            if any(part is tensor for part in parts):
                return ".".join(filter(None, ["self", path, name]))
    return f"a tensor of shape {tuple(tensor.shape)}"
