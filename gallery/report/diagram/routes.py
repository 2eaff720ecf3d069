"""The curves of a diagram's edges: vertical at both ends, and side by side where several meet."""

from collections.abc import Iterable
from itertools import pairwise

from gallery.report.diagram.layout import Point, Shape

__all__ = ["routes"]

Edge = tuple[str, str]
WIDEST, APART = 0.65, 0.3  # ports of a shape, as shares of its half width: the outermost, and the distance of two


def routes(edges: Iterable[Edge], shapes: dict[str, Shape], via: dict[Edge, list[Point]]) -> dict[Edge, list[Point]]:
    """Return for each edge the points of its cubic curves between the outlines: start, (control, control, end), ..."""
    upright = [edge for edge in edges if shapes[edge[0]].row != shapes[edge[1]].row]
    ports = _ports(upright, shapes, via)
    curves: dict[Edge, list[Point]] = {}
    for a, b in edges:
        if (a, b) not in ports:
            curves[a, b] = _arc(shapes[a], shapes[b])
            continue
        points = [ports[a, b][0], *via.get((a, b), []), ports[a, b][1]]
        curves[a, b] = points[:1]
        for p, q in pairwise(points):
            middle = (p[1] + q[1]) / 2
            curves[a, b] += [(p[0], middle), (q[0], middle), q]
    return curves


def _arc(a: Shape, b: Shape) -> list[Point]:
    """Return an arc between steps in the same row, above the text beside a."""
    side = 1 if b.x > a.x else -1
    start, end = a.port(side * 0.8, -1), b.port(-side * 0.8, -1)
    quarter, top = (end[0] - start[0]) / 4, start[1] - 22 - 0.04 * abs(end[0] - start[0])
    return [start, (start[0] + quarter, top), (end[0] - quarter, top), end]


def _ports(edges: list[Edge], shapes: dict[str, Shape], via: dict[Edge, list[Point]]) -> dict[Edge, list[Point]]:
    """Return start and end of each edge: towards its other end, and apart from its neighbours."""
    sides: dict[tuple[str, int], list[tuple[float, Edge, int]]] = {}  # (shape, side) to (x of the other end, edge, end)
    for edge in edges:
        a, b = (shapes[name] for name in edge)
        past = [x for x, _ in via.get(edge, [])]
        side = 1 if b.row > a.row else -1
        sides.setdefault((edge[0], side), []).append(((past or [b.x])[0], edge, 0))
        sides.setdefault((edge[1], -side), []).append(((past or [a.x])[-1], edge, 1))
    ends_of: dict[Edge, list[Point]] = {edge: [(0.0, 0.0), (0.0, 0.0)] for edge in edges}
    for (name, side), ends in sides.items():
        shape, apart = shapes[name], min(APART, 2 * WIDEST / max(1, len(ends) - 1))
        ends.sort()
        shares = [max(-WIDEST, min(WIDEST, (x - shape.x) / 200)) for x, _, _ in ends]
        for i in range(1, len(shares)):
            shares[i] = max(shares[i], shares[i - 1] + apart)
        for i, share in enumerate(shares):
            ends_of[ends[i][1]][ends[i][2]] = shape.port(min(share, WIDEST - apart * (len(shares) - 1 - i)), side)
    return ends_of
