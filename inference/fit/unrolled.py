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

__all__ = ["MOST_PRODUCTS", "MOST_UNKNOWNS", "unroll_small"]

aten = torch.ops.aten
MOST_PRODUCTS = 1024  # of numbers, in a product of matrices
MOST_UNKNOWNS = 4  # of a triangular system; the number of operations is quadratic in it


def unroll_small(graph: fx.GraphModule) -> None:
    """Write out the small products and solves of a graph of `traced`, whose nodes have their shapes."""
    ways: dict[Any, Callable[[fx.Node], Any]] = {
        aten.linalg_solve_triangular.default: _solution,
        aten.mm.default: _product,
        aten.bmm.default: _product,
    }
    for node in graph.graph.nodes:
        if node.target in ways:
            with graph.graph.inserting_before(node):
                value = ways[node.target](node)
            if value is not None:
                node.replace_all_uses_with(value.node)
                graph.graph.erase_node(node)
    graph.recompile()


def _arguments(node: fx.Node) -> list[Any]:
    tracer = GraphAppendingTracer(node.graph)
    return [fx.Proxy(argument, tracer) for argument in node.args if isinstance(argument, fx.Node)]


def _shape(node: Any) -> torch.Size:
    if node.op == "get_attr":
        return functools.reduce(getattr, node.target.split("."), node.graph.owning_module).shape
    return node.meta["tensor_meta"].shape


def _product(node: fx.Node) -> Any:
    """Return the product of matrices (n, k) and (k, m), or of several, as a sum over k; None if they are large."""
    n, m = _shape(node)[-2:]
    if n * m * _shape(node.args[0])[-1] > MOST_PRODUCTS:
        return None
    a, b = _arguments(node)
    return (a[..., None] * b[..., None, :, :]).sum(-2)


def _solution(node: fx.Node) -> Any:
    """Return x (..., k, n) with a x = b, for a triangular a (..., k, k), by substitution; None if k is large."""
    unknowns = range(_shape(node.args[0])[-1])
    if len(unknowns) > MOST_UNKNOWNS or node.kwargs.keys() != {"upper"}:
        return None
    a, b = _arguments(node)
    rows: dict[int, Any] = {}
    for i in reversed(unknowns) if node.kwargs["upper"] else unknowns:
        rest = b[..., i, :]
        for j, row in rows.items():
            rest = rest - a[..., i, j, None] * row
        rows[i] = rest / a[..., i, i, None]
    return torch.stack([rows[i] for i in unknowns], -2)
