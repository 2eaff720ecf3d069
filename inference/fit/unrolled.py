"""Products of small matrices and triangular systems of a few unknowns, written out in a graph.

A call of a library for a product of 32 x 2 and 2 x 2 takes ten times as long as its arithmetic, which the compiler can
join with what is around it.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from torch.fx.proxy import GraphAppendingTracer

__all__ = ["MOST_PRODUCTS", "MOST_UNKNOWNS", "with_small_unrolled"]

aten = torch.ops.aten
MOST_PRODUCTS = 1024  # scalar products of a product of matrices
MOST_UNKNOWNS = 4  # of a triangular system; the number of operations is quadratic in it


def with_small_unrolled(graph: fx.GraphModule) -> fx.GraphModule:
    """Return a copy of a graph of `traced` in which small products and solves are written out.

    What is in float32 or float64 alone; values have the layout in memory that the calls of the library give them.
    """
    nodes = fx.Graph()
    nodes.output(nodes.graph_copy(graph.graph, {}))
    copied = fx.GraphModule(graph, nodes)
    rewrites: dict[Any, Callable[[fx.Node], Any]] = {
        aten.linalg_solve_triangular.default: _solution,
        aten.mm.default: _product,
        aten.bmm.default: _product,
    }
    for node in copied.graph.nodes:
        if node.target in rewrites and _of(node).dtype in (torch.float32, torch.float64):
            with copied.graph.inserting_before(node):
                value = rewrites[node.target](node)
            if value is not None:
                value.node.meta = dict(node.meta)
                node.replace_all_uses_with(value.node)
                copied.graph.erase_node(node)
    copied.recompile()
    return copied


def _of(node: Any) -> Any:
    """Return the tensor of a node, or what tracing has kept of it: its shape, strides and type."""
    if node.op == "get_attr":
        return functools.reduce(getattr, node.target.split("."), node.graph.owning_module)
    return node.meta["tensor_meta"]


def _arguments(node: fx.Node) -> list[Any]:
    tracer = GraphAppendingTracer(node.graph)
    return [fx.Proxy(argument, tracer) for argument in node.args if isinstance(argument, fx.Node)]


def _product(node: fx.Node) -> Any:
    """Return the product of matrices (n, k) and (k, m), or of several, as a sum over k; None if they are large."""
    shape = _of(node).shape
    if shape.numel() * _of(node.args[0]).shape[-1] > MOST_PRODUCTS:
        return None
    a, b = _arguments(node)
    return (a[..., None] * b[..., None, :, :]).sum(-2).contiguous()


def _solution(node: fx.Node) -> Any:
    """Return x (..., k, n) with a x = b, for a triangular a (..., k, k), by substitution; None if k is large."""
    *_, k, n = _of(node).shape
    columns = _of(node).stride[-2:] == (1, k)  # as LAPACK stores x
    if not (1 <= k <= MOST_UNKNOWNS and n and columns) or node.kwargs.keys() != {"upper"}:
        return None
    a, b = _arguments(node)
    rows: dict[int, Any] = {}
    for i in reversed(range(k)) if node.kwargs["upper"] else range(k):
        rest = b[..., i, :]
        for j, row in rows.items():
            rest = rest - a[..., i, j, None] * row
        rows[i] = rest / a[..., i, i, None]
    return torch.stack([rows[i] for i in range(k)], -1).transpose(-1, -2)
