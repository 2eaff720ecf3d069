"""The factorisation of a diagram, in one line: "p(z) p(x | z; decoder)".

A sequence whose steps are alike is written by its general step: p(z_t | z_1:t-1, x_1:t-1; recurrence, prior).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gallery.report.diagram.graph import Diagram, Node

__all__ = ["Fold", "factorisation", "fold", "general_step", "series"]

STEP = re.compile(r"(.+)_(\d+)")
SPANS: dict[str, Callable[[int, int], range]] = {  # the steps among 1, ..., T that step t reads, the narrowest first
    "t": lambda t, T: range(t, t + 1),
    "t-1": lambda t, T: range(max(1, t - 1), t),
    "1:t-1": lambda t, T: range(1, t),
    "1:t": lambda t, T: range(1, t + 1),
    "t+1:T": lambda t, T: range(t + 1, T + 1),
    "t:T": lambda t, T: range(t, T + 1),
    "1:T": lambda t, T: range(1, T + 1),
}


@dataclass(frozen=True)
class Fold:
    """Steps 1, ..., `steps` that are alike.

    :param reads: for each series z_1, z_2, ... the parents of z_t, such as ("z_t-1", "theta")
    :param start: 1, or 2 if the first step depends on other networks or inputs than the others
    """

    steps: int
    reads: dict[str, tuple[str, ...]]
    start: int


def series(diagram: Diagram) -> dict[str, dict[int, Node]]:
    """Return the nodes of each series z_1, z_2, ... by step. A series has at least two nodes."""
    by_name: dict[str, dict[int, Node]] = {}
    for node in diagram.nodes:
        if (match := STEP.fullmatch(node.name)) and node.kind != "network":
            by_name.setdefault(match[1], {})[int(match[2])] = node
    return {name: nodes for name, nodes in by_name.items() if len(nodes) > 1}


def fold(diagram: Diagram) -> Fold | None:
    """Return the general step of a sequence.

    :return: None if there are fewer than three steps, or the steps from the second on differ
    """
    every = series(diagram)
    T = max((len(nodes) for nodes in every.values()), default=0)
    if T < 3 or any(nodes.keys() != set(range(1, T + 1)) for nodes in every.values()):
        return None
    in_steps = {node.name for nodes in every.values() for node in nodes.values()}
    reads, start = {}, 1
    for name, nodes in every.items():
        parents = [diagram.parents(nodes[t].name) for t in range(1, T + 1)]
        beside = [tuple(parent for parent in names if parent not in in_steps) for names in parents]
        if len(set(beside[1:])) > 1 or len({replace(node, name="") for node in nodes.values()}) > 1:
            return None
        spans = []
        for other, others in every.items():
            steps = [{s for s in others if others[s].name in names} for names in parents]
            alike = [text for text, of in SPANS.items() if steps == [set(of(t, T)) for t in range(1, T + 1)]]
            if any(steps) and not alike:
                return None
            spans += [f"{other}_{text}" for text in alike[:1]]
        reads[name] = (*spans, *beside[1])
        start = start if beside[0] == beside[1] else 2
    return Fold(T, reads, start)


def factorisation(diagram: Diagram) -> str:
    """Return the product of the densities of all sites and of exp(factor) for each factor; "1" without sites."""
    folded, every = fold(diagram), series(diagram)
    in_steps = {node.name for nodes in every.values() for node in nodes.values()} if folded else set()
    sites = [node for node in diagram.nodes if node.kind not in ("input", "network")]
    factors = [_factor(diagram, n, n.name, diagram.parents(n.name)) for n in sites if n.name not in in_steps]
    if folded:
        first = [nodes[1] for nodes in every.values() if nodes[1] in sites and folded.start == 2]
        factors += [_factor(diagram, node, node.name, diagram.parents(node.name)) for node in first]
        factors += [f"product over t = {folded.start}, ..., {folded.steps} of", *general_step(diagram, folded)]
    return " ".join(factors) or "1"


def general_step(diagram: Diagram, folded: Fold) -> list[str]:
    """Return the factors of step t."""
    sites = [(name, nodes[1]) for name, nodes in series(diagram).items() if nodes[1].kind != "input"]
    return [_factor(diagram, node, f"{name}_t", folded.reads[name]) for name, node in sites]


def _factor(diagram: Diagram, node: Node, name: str, parents: Sequence[str]) -> str:
    networks = [n.name for n in diagram.nodes if n.kind == "network"]
    read = ", ".join(parent for parent in parents if parent not in networks)
    by = "; " * any(p in networks for p in parents) + ", ".join(p for p in parents if p in networks)
    if node.kind == "factor":
        return f"exp({name}({read}{by}))"
    return f"{'p' if diagram.of == 'model' else 'q'}({name}{' | ' if read else ''}{read}{by})"
