"""Layout of a diagram: the positions of nodes and the points that edges pass through.

Layered, as Sugiyama, Tagawa and Toda (Methods for visual understanding of hierarchical system structures, 1981):
parents stand above their children, a row is ordered by the mean position of the neighbours of each node, and an edge
that passes a row has a position in it. Networks and global latents stand outside the plate of the data, and each plate
beside it in a column at its right.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gallery.report.diagram.factorisation import STEP
from gallery.report.diagram.graph import Diagram, Node

__all__ = ["LABEL", "LANE", "PAD", "RADIUS", "ROW", "Point", "Shape", "arrange", "base", "frame", "notes"]

ROW, RADIUS, LANE, PAD = (
    116,
    24,
    16,
    20,
)  # between rows, of a circle, between passing edges, around a plate
LABEL = 160  # the least width of a plate, for its label
Point = tuple[float, float]
Item = str | tuple[str, str, int]
"""An item of a row: the name of a node, or (parent, child, row) of an edge that passes."""


@dataclass
class Shape:
    """A node with its position: centre, half width and height, and lines of text beside it or within a box."""

    node: Node
    notes: list[str]
    row: int
    x: float = 0.0

    def __post_init__(self) -> None:
        self.boxed, self.word = self.node.kind == "network", len(base(self.node.name)) > 2
        text = max(map(len, self.notes), default=0) * 6.2  # approximate width in pixels in the fonts of browsers
        self.rx: float = RADIUS
        self.ry: float = RADIUS
        if self.boxed:
            self.rx, self.ry = max(text, 7.6 * len(self.node.name)) / 2 + 10, 14 + 7 * len(self.notes)
        elif self.node.kind == "factor":
            self.rx = self.ry = 6
        elif self.word:
            self.rx = max(RADIUS, 3.8 * len(self.node.name) + 13)
        self.right = self.rx if self.boxed else self.rx + 8 + text

    @property
    def y(self) -> float:
        """The vertical centre."""
        return float(self.row * ROW)

    def port(self, share: float, side: int) -> Point:
        """Return the point of the lower (side=1) or upper (side=-1) outline at a share of the half width, -1 to 1."""
        dy = self.ry if self.boxed or self.ry < RADIUS else self.ry * math.sqrt(1 - share**2)
        return self.x + share * self.rx, self.y + side * dy


def base(name: str) -> str:
    """Return the name of a node without its step: "z" for "z_3"."""
    return match[1] if (match := STEP.fullmatch(name)) else name


def _times(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def notes(node: Node) -> list[str]:
    """Return the lines of text of a node: family, shape, parameters."""
    if node.kind == "factor":
        return [node.name, "factor"]
    if node.kind == "network":
        if len(node.parameters) <= 4 and not any("." in name for name, _ in node.parameters):
            return [f"{name}  {_times(shape) or 'scalar'}" for name, shape in node.parameters]
        return [f"{sum(math.prod(shape) for _, shape in node.parameters):,} parameters"]
    about = [node.distribution or "input"] + ["summed out"] * (node.kind == "enumerated")
    if node.kind == "deterministic":
        about = ["deterministic"]
    elif node.masked:
        about.append("not scored")
    return [*about, f"shape {_times(node.shape)}" if node.shape else "scalar"]


def frame(shapes: Iterable[Shape], plate: str, folded: bool) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a plate, with space for its label and for folded steps."""
    within = [shape for shape in shapes if plate in shape.node.plates]
    pad = PAD * max(len(shape.node.plates) - shape.node.plates.index(plate) for shape in within)  # around inner plates
    left, right = min(shape.x - shape.rx for shape in within), max(shape.x + shape.right for shape in within)
    top, bottom = min(shape.y for shape in within) - RADIUS, max(shape.y for shape in within) + RADIUS
    right = max(right + pad, left - pad + LABEL)
    return left - pad, top - pad - 8, right + 2 * PAD * folded, bottom + pad + 14


def arrange(diagram: Diagram, steps: dict[str, int], folded: bool) -> tuple[dict[str, Shape], dict]:
    """Return the shapes of all nodes, and the points at which each long edge passes rows.

    :param steps: the step of each node of a sequence; each step has a column
    :param folded: whether the sequence has further steps
    """
    row = _rows(diagram, steps)
    shapes = {node.name: Shape(node, notes(node), row[node.name]) for node in diagram.nodes}
    within = {name: shape for name, shape in shapes.items() if shape.node.plates}
    via = _inside(within, [(a, b) for a, b in diagram.edges if a in within and b in within], steps)
    frames = [frame(within.values(), plate, folded) for plate in {p for s in within.values() for p in s.node.plates}]
    edges = min((f[0] for f in frames), default=0.0), max((f[2] for f in frames), default=0.0)
    others = {name: shape for name, shape in shapes.items() if name not in within}
    return shapes, via | _outside(others, within, diagram.edges, edges)


def _rows(diagram: Diagram, steps: dict[str, int]) -> dict[str, int]:
    """Return the row of every node, from 0.

    Children stand below their parents, and a node without parents just above its children. All steps of a series stand
    in the same row.
    """
    key = {node.name: base(node.name) if node.name in steps else node.name for node in diagram.nodes}
    order = list(dict.fromkeys(key.values()))
    parents: dict[str, set[str]] = {name: set() for name in order}
    for a, b in diagram.edges:
        same_step = a not in steps or b not in steps or steps[a] == steps[b]
        if same_step and (diagram[a].kind in ("input", "network") or order.index(key[a]) < order.index(key[b])):
            parents[key[b]].add(key[a])

    def depth(name: str) -> int:
        return max((1 + depth(parent) for parent in parents[name]), default=0)

    rows = {name: depth(name) for name in order}
    for name in order:
        if not parents[name]:
            rows[name] = min((rows[child] - 1 for child in order if name in parents[child]), default=0)
    return {name: rows[key[name]] for name in key}


def _inside(shapes: dict[str, Shape], links: list[tuple[str, str]], steps: dict[str, int]) -> dict:
    """Set x of the shapes in plates, and return the points at which links pass rows.

    A row is ordered by the mean position of the neighbours of each item; links that pass the row are items too. Each
    step has a column, and so has each plate beside that of the data.
    """
    beside = list(dict.fromkeys(shape.node.plates[0] for shape in shapes.values() if shape.node.plates[0] != "data"))
    last = max(steps.values(), default=0)
    columns = steps | {
        name: last + 1 + beside.index(shape.node.plates[0])
        for name, shape in shapes.items()
        if shape.node.plates[0] in beside
    }
    chains: dict[tuple[str, str], list[Item]] = {}  # the items that stand for a link in the rows that it passes
    for a, b in links:
        down = 1 if shapes[a].row < shapes[b].row else -1
        between = range(shapes[a].row + down, shapes[b].row, down)
        chains[a, b] = [a, *((a, b, row) for row in between), b]
    rows: dict[int, list[Item]] = {}
    for chain in chains.values():
        for item in chain[1:-1]:
            assert not isinstance(item, str)
            rows.setdefault(item[2], []).append(item)
    for name, shape in shapes.items():
        rows.setdefault(shape.row, []).append(name)
    linked: dict[Item, list[Item]] = {item: [] for row in rows.values() for item in row}
    for chain in chains.values():
        for one, other in pairwise(chain):
            linked[one].append(other)
            linked[other].append(one)
    for _ in range(4):
        place = {item: i - (len(row) - 1) / 2 for row in rows.values() for i, item in enumerate(row)}
        for row in rows.values():
            mean = {item: sum(place[other] for other in linked[item]) / (len(linked[item]) or 1) for item in row}
            row.sort(key=lambda item: (_column(item, columns), mean[item], isinstance(item, str)))

    rx, right = (max((getattr(s, side) for s in shapes.values()), default=0) for side in ("rx", "right"))
    x: dict[Item, float] = {}
    left, wide = 0.0, rx + right + 34
    for column in sorted({_column(item, columns) for item in linked}):
        if column > last:
            left = max(left, LABEL) + 3 * PAD  # between the frames
        cells = [[item for item in row if _column(item, columns) == column] for row in rows.values()]
        whole = max(sum(isinstance(item, str) for item in cell) for cell in cells) * wide
        for cell in cells:
            start = left + (whole - sum(isinstance(item, str) for item in cell) * wide) / 2
            waiting: list[Item] = []
            for item in cell:  # an edge passes close to the circle at its right, or else to the text at its left
                if isinstance(item, str):
                    x[item] = start + rx
                    start += wide
                    x |= {line: x[item] - shapes[item].rx - 13 - 6 * k for k, line in enumerate(waiting)}
                    waiting = []
                else:
                    x[item] = start - 13
                    waiting.insert(0, item)
        left += whole
    for name, shape in shapes.items():
        shape.x = x[name]
    return {link: [(x[item], float(item[2]) * ROW) for item in chain[1:-1]] for link, chain in chains.items()}


def _column(item: Item, columns: dict[str, int]) -> int:
    """Return the column of an item: that of its node, or of the child of an edge between nodes with columns."""
    if isinstance(item, str):
        return columns.get(item, 0)
    parent, child, _ = item
    return columns[child] if parent in columns and child in columns else 0


def _outside(shapes: dict[str, Shape], inside: dict[str, Shape], edges, frame: tuple[float, float]) -> dict:
    """Set x of the shapes outside all plates, and return the points at which edges pass rows."""
    left, right = frame
    long = {a for a, b in edges if a in shapes and shapes[a].row + 1 < (shapes | inside)[b].row}
    sides = {1: right + LANE * (len(long) + 1), -1: left - LANE * (len(long) + 1)}
    rows: dict[int, list[str]] = {}
    for name, shape in shapes.items():
        rows.setdefault(shape.row, []).append(name)
    beside = {shape.row for shape in inside.values()}
    for row, names in rows.items():
        used = dict(sides)
        start = (left + right - sum(shapes[name].rx + shapes[name].right + 30 for name in names) + 30) / 2
        for i, name in enumerate(names):
            shape, side = shapes[name], 1 if i % 2 == 0 else -1
            if row in beside:
                shape.x = used[side] + (shape.rx if side > 0 else -shape.right)
                used[side] += side * (shape.rx + shape.right + 20)
            else:
                shape.x = start + shape.rx
                start += shape.rx + shape.right + 30
    via, lanes = {}, {1: 0, -1: 0}
    for name in sorted(long, key=lambda name: shapes[name].x):
        side = 1 if shapes[name].x >= (left + right) / 2 else -1
        lanes[side] += 1
        lane = (right if side > 0 else left) + side * LANE * lanes[side]
        for a, b in edges:
            if a == name:
                via[a, b] = [(lane, row * ROW) for row in range(shapes[a].row + 1, (shapes | inside)[b].row)]
    return via
