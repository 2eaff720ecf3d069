"""Loops in a graph: one call of the library that it is compiled to then takes several turns.

The loop is torch's operator `while_loop`, which carries tensors from one turn to the next.
"""

import operator
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.fx.proxy import GraphAppendingTracer

__all__ = ["Proxies", "graph_of", "inlined", "looped", "set_examples", "written"]

Proxies = list[Any]  # of tensors, in a graph


def graph_of(
    function: Callable[..., Proxies], sizes: Sequence[int], graphs: dict[str, fx.GraphModule] | None = None
) -> fx.GraphModule:
    """Return the graph of a function of lists of proxies.

    >>> graph_of(lambda x, y: [x[0] + y[0]], (1, 1))(torch.ones(2), torch.ones(2))
    (tensor([2., 2.]),)

    :param function: returns a list of proxies
    :param sizes: of its lists; the graph takes their elements one after the other
    :param graphs: those that it names, as `looped` does
    """
    nodes = fx.Graph()
    tracer = GraphAppendingTracer(nodes)
    arguments = iter([fx.Proxy(nodes.placeholder(f"value_{i}"), tracer) for i in range(sum(sizes))])
    outputs = function(*(list(islice(arguments, size)) for size in sizes))
    nodes.output(tuple(proxy.node for proxy in outputs))
    return fx.GraphModule(graphs or {}, nodes)


def inlined(graph: fx.GraphModule, values: Proxies) -> Proxies:
    """Copy a graph into that of its arguments; return its outputs without those that are None."""
    nodes, tracer = values[0].node.graph, values[0].tracer
    placeholders = graph.graph.find_nodes(op="placeholder")
    known = {node: value.node for node, value in zip(placeholders, values, strict=True)}
    copied: Any = nodes.graph_copy(graph.graph, known)
    return [fx.Proxy(node, tracer) for node in copied if node is not None]


def looped(turn: str, condition: str, carried: Proxies, others: Proxies) -> Proxies:
    """Add a loop to the graph of its arguments; return what it carries after the last turn.

    :param turn: name of the graph of a turn, of `carried` and `others`, which returns the next values of `carried`
    :param condition: name of a graph of the same arguments, which returns whether there is another turn
    """
    nodes, tracer = carried[0].node.graph, carried[0].tracer
    values = (tuple(proxy.node for proxy in part) for part in (carried, others))
    graphs = nodes.get_attr(condition), nodes.get_attr(turn)
    loop = nodes.call_function(torch.ops.higher_order.while_loop, (*graphs, *values))
    return [fx.Proxy(nodes.call_function(operator.getitem, (loop, i)), tracer) for i in range(len(carried))]


def set_examples(graph: fx.GraphModule, values: list[Tensor]) -> None:
    """Set the shapes of the arguments of a graph, without which one with a loop is not compiled."""
    mode = FakeTensorMode(shape_env=ShapeEnv())
    for node, value in zip(graph.graph.find_nodes(op="placeholder"), values, strict=True):
        node.meta["val"] = mode.from_tensor(value, static_shapes=True)


def written(graph: fx.GraphModule) -> list[int]:
    """Return the numbers of the arguments that a graph changes in place, perhaps with others that they stand beside."""
    arguments = graph.graph.find_nodes(op="placeholder")
    memory: dict[fx.Node, set[int]] = {node: {i} for i, node in enumerate(arguments)}  # whose memory a node may share
    changed: set[int] = set()
    for node in graph.graph.nodes:
        if node.target is operator.getitem:  # one of several views
            memory[node] = memory.get(node.args[0], set())
        schema = getattr(node.target, "_schema", None)
        if schema is not None and any(argument.alias_info is not None for argument in schema.arguments):
            memory[node] = set().union(*(memory.get(of, set()) for of in node.all_input_nodes))
            changed |= memory[node] if schema.is_mutable else set()
    return sorted(changed)
