"""Small products and triangular solves, written out in a graph."""

import pytest
import torch

from inference.fit.graph import traced
from inference.fit.unrolled import MOST_PRODUCTS, MOST_UNKNOWNS, with_small_unrolled

LIBRARY = (torch.ops.aten.mm.default, torch.ops.aten.bmm.default, torch.ops.aten.linalg_solve_triangular.default)


def solve(upper, left=True):
    def run(a, b):
        x = torch.linalg.solve_triangular(a.triu() if upper else a.tril(), b, upper=upper, left=left)
        return x, a @ b

    return run


WEIGHTS = torch.nn.Parameter(torch.eye(3, dtype=torch.float64) + 0.1)


@pytest.mark.parametrize(
    ("run", "shapes", "left"),
    [
        (solve(False), ((3, 3), (3, 5)), 0),
        (solve(True), ((MOST_UNKNOWNS, MOST_UNKNOWNS), (MOST_UNKNOWNS, 1)), 0),
        (solve(True), ((7, 2, 2), (7, 2, 3)), 0),
        (solve(False), ((1, 1), (1, 4)), 0),
        (solve(False), ((MOST_UNKNOWNS + 1, MOST_UNKNOWNS + 1), (MOST_UNKNOWNS + 1, 2)), 1),
        (solve(False, left=False), ((3, 3), (3, 3)), 1),
        (lambda a, b: (a @ b, a.T @ a), ((32, 2), (2, 3)), 0),
        (lambda a, b: (WEIGHTS @ WEIGHTS, torch.linalg.solve_triangular(WEIGHTS, b, upper=True)), ((2, 2), (3, 3)), 0),
        (lambda a, b: (a @ b @ b, torch.linalg.solve_triangular(a @ b, b, upper=True)), ((3, 3), (3, 3)), 0),
        (lambda a, b: (torch.linalg.solve_triangular(a, b, upper=True).mT.reshape(-1),), ((5, 3, 3), (3, 2)), 0),
        (lambda a, b: (torch.linalg.solve_triangular(a.triu(), b, upper=True),), ((1, 3, 3), (4, 3, 1)), 0),
        (lambda a, b: (a.long() @ b.long(), (a.bfloat16() @ b.bfloat16())), ((3, 2), (2, 3)), 2),
        (lambda a, b: (a[:0] @ b, a[:, :0] @ b[:0]), ((3, 2), (2, 3)), 0),
        (lambda a, b: (a @ b,), ((MOST_PRODUCTS // 16 + 1, 4), (4, 4)), 1),
    ],
)
def test_what_is_written_out_is_equal_and_calls_no_library(run, shapes, left):
    draws = torch.Generator().manual_seed(0)
    a, b = (torch.randn(shape, generator=draws, dtype=torch.float64) + 3 * torch.eye(*shape[-2:]) for shape in shapes)
    graph = traced(run, (a, b))
    unrolled = with_small_unrolled(graph)
    for ours, theirs in zip(unrolled(a, b), graph(a, b), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12, check_stride=True)
    assert sum(node.target in LIBRARY for node in unrolled.graph.nodes) == left
    assert sum(node.target in LIBRARY for node in graph.graph.nodes) > 0
