"""A diagram in plate notation, as SVG: circles are random variables, shaded if they are observed or inputs.

A double line marks a deterministic value, a dashed one an auxiliary site of the guide, a small square a factor, and a
box a network with its parameters. A plate is a frame around nodes that are repeated N times. Of a sequence two steps
are drawn, and the factors of the general step are written below.

The picture takes the colour of the surrounding text, and the CSS variable --diagram-network for networks. It has no
style sheet, no identifiers and no references, so several fit in one page.
"""

import math
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

from gallery.report.diagram.factorisation import STEP, Fold, factorisation, fold, general_step, series
from gallery.report.diagram.graph import Diagram
from gallery.report.diagram.layout import PAD, Point, Shape, arrange, frame
from gallery.report.diagram.routes import routes

__all__ = ["svg"]

NETWORK = "var(--diagram-network, #2F7FC1)"  # a blue with contrast on white and on black
EDGE = 12  # around the picture
TEXT: dict[str, Any] = {"fill": "currentColor", "stroke": "none"}
SYMBOL: dict[str, Any] = {"font_family": "serif", "font_style": "italic", "font_size": 20}
WORD: dict[str, Any] = {"font_size": 13}
SMALL: dict[str, Any] = {"font_size": 11, "fill_opacity": 0.8}


def svg(diagram: Diagram, title: str) -> str:
    """Draw a diagram as SVG, with its factorisation as the description. Names of Greek letters are drawn as letters.

    :param title: the accessible name
    """
    diagram = diagram.in_greek()
    folded = fold(diagram)
    steps = {node.name: step for nodes in series(diagram).values() for step, node in nodes.items()}
    shown = diagram
    if folded:
        nodes = tuple(node for node in diagram.nodes if steps.get(node.name, 0) <= 2)
        names = {node.name for node in nodes}
        shown = replace(diagram, nodes=nodes, edges=tuple((a, b) for a, b in diagram.edges if {a, b} <= names))
    shapes, via = arrange(shown, steps, bool(folded))

    paper = _Paper(title, factorisation(diagram))
    for plate, size in diagram.plates:
        _plate(paper, plate, size, [shape for shape in shapes.values() if plate in shape.node.plates], folded)
    for (parent, _), curve in routes(shown.edges, shapes, via).items():
        _edge(paper, curve, NETWORK if shapes[parent].boxed else "currentColor")
    for shape in shapes.values():
        _node(paper, shape)
    below = general_step(diagram, folded) if folded else [] if shapes else ["No sites."]
    left, bottom = paper.box[0], paper.box[3]
    for i, line in enumerate(below):
        paper.write(line, left, bottom + 22 + 17 * i, **WORD)
    return paper.finished()


class _Paper:
    """An SVG whose view box grows with its content. The element tree escapes all text."""

    def __init__(self, title: str, description: str):
        self.root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img"})
        self.box = (0.0, 0.0, 0.0, 0.0)
        self.add("title").text = _printable(title)
        self.add("desc").text = _printable(description)
        self.sheet = self.add("g", fill="none", stroke="currentColor", stroke_width=1.4, font_family="sans-serif")

    def add(self, tag: str, parent: ET.Element | None = None, **attributes: str | float) -> ET.Element:
        """Append an element, by default to the root."""
        strings = {name.replace("_", "-"): v if isinstance(v, str) else f"{v:g}" for name, v in attributes.items()}
        return ET.SubElement(self.root if parent is None else parent, tag, strings)

    def write(self, text: str, x: float, y: float, anchor: str = "start", under: str = "", **attributes: Any) -> None:
        """Write text on a base line at y, with a subscript."""
        element = self.add("text", self.sheet, x=x, y=y, text_anchor=anchor, **{**TEXT, **attributes})
        element.text = _printable(text)
        if under:
            self.add("tspan", element, dy=4, font_size="70%").text = under
        width = 0.56 * attributes["font_size"] * len(text + under)
        left = x - width / 2 if anchor == "middle" else x - width if anchor == "end" else x
        self.cover(left, y - attributes["font_size"], left + width, y + 5)

    def cover(self, left: float, top: float, right: float, bottom: float) -> None:
        """Extend the view box to a rectangle."""
        a, b, c, d = self.box
        self.box = (min(a, left), min(b, top), max(c, right), max(d, bottom))

    def finished(self) -> str:
        """Return the SVG as text, with its size set."""
        left, top, right, bottom = self.box
        size = (right - left + 2 * EDGE, bottom - top + 2 * EDGE)
        self.root.set("viewBox", " ".join(f"{v:.0f}" for v in (left - EDGE, top - EDGE, *size)))
        self.root.set("width", f"{size[0]:.0f}")
        self.root.set("height", f"{size[1]:.0f}")
        return ET.tostring(self.root, encoding="unicode")


def _printable(text: str) -> str:
    """Replace the characters that XML cannot hold: control characters and lone surrogates."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _node(paper: _Paper, shape: Shape) -> None:
    node, x, y, rx, ry = shape.node, shape.x, shape.y, shape.rx, shape.ry
    paper.cover(x - rx, y - ry, x + shape.right, y + ry)
    match = STEP.fullmatch(node.name)
    name, under = match.groups() if match else (node.name, "")
    top = y - 6.5 * (len(shape.notes) - 1) + 4  # base line of the first note
    if node.kind == "network":
        paper.add("rect", paper.sheet, x=x - rx, y=y - ry, width=2 * rx, height=2 * ry, rx=9, stroke=NETWORK)
        paper.write(node.name, x, y - ry + 18, "middle", **WORD)
        for i, line in enumerate(shape.notes):
            paper.write(line, x, y - ry + 33 + 13 * i, "middle", **SMALL)
        return
    if node.kind == "factor":
        paper.add("rect", paper.sheet, x=x - rx, y=y - ry, width=2 * rx, height=2 * ry, fill="currentColor")
    else:
        shade: dict[str, Any] = {}
        if node.kind in ("observed", "input"):
            shade = {"fill": "currentColor", "fill_opacity": 0.18}
        outline = {"stroke": "none"} if node.kind == "input" else {"stroke_dasharray": "5 3"} if node.auxiliary else {}
        paper.add("ellipse", paper.sheet, cx=x, cy=y, rx=rx, ry=ry, **shade, **outline)
        if node.kind == "deterministic":
            paper.add("ellipse", paper.sheet, cx=x, cy=y, rx=rx - 4, ry=ry - 4, **outline)
        style = WORD if shape.word else SYMBOL
        paper.write(name, x, y + style["font_size"] / 3, "middle", under, **style)
    for i, line in enumerate(shape.notes):
        paper.write(line, x + rx + 7, top + 13 * i, **SMALL)


def _edge(paper: _Paper, curve: list[Point], colour: str) -> None:
    """Draw an arrow."""
    (x0, y0), (x, y) = curve[-2:]
    length = math.dist((x0, y0), (x, y))
    dx, dy = (x - x0) / length, (y - y0) / length
    first, *others = (f"{px:.1f} {py:.1f}" for px, py in (*curve[:-1], (x - 6 * dx, y - 6 * dy)))
    paper.add("path", paper.sheet, d=f"M {first} C {', '.join(others)}", stroke=colour)
    head = [(x, y), (x - 8 * dx + 3.5 * dy, y - 8 * dy - 3.5 * dx), (x - 8 * dx - 3.5 * dy, y - 8 * dy + 3.5 * dx)]
    points = " ".join(f"{px:.1f},{py:.1f}" for px, py in head)
    paper.add("polygon", paper.sheet, points=points, fill=colour, stroke="none")
    for px, py in curve:
        paper.cover(px, py, px, py)


def _plate(paper: _Paper, name: str, size: int, shapes: list[Shape], folded: Fold | None) -> None:
    left, top, right, bottom = frame(shapes, name, bool(folded))
    if folded:
        for y in {shape.y for shape in shapes if STEP.fullmatch(shape.node.name)}:
            paper.write("⋯", right - PAD, y + 6, "middle", **SYMBOL)
        paper.write(f"t = 1, …, {folded.steps}", left + 10, bottom - 9, **WORD)
    paper.add("rect", paper.sheet, x=left, y=top, width=right - left, height=bottom - top, rx=10)
    paper.write(f"{name}, N = {size:,}", right - 10, bottom - 9, "end", **WORD)
    paper.cover(left, top, right, bottom)
