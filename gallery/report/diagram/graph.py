"""What a diagram is: nodes, edges and plates."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["ROW", "Diagram", "Node"]

ROW = "row"
"""The input of a guide that has parameters for each datum, and looks them up by its row."""

Kind = Literal["latent", "enumerated", "observed", "deterministic", "factor", "input", "network"]


@dataclass(frozen=True)
class Node:
    """Something in the graph.

    :param kind: enumerated is a discrete latent that is summed out; deterministic a Delta; an input is an argument of
        the pair or, for parameters of single data, the row; a network is what was registered by one `pyro.module`
    :param distribution: family of a latent, observed or deterministic site
    :param shape: event shape, without the data's dimension
    :param plates: names of those that it stands in
    :param auxiliary: is it a site of the guide that the model does not have?
    :param masked: is its density left out, as under a flat prior?
    :param parameters: (name, shape) of every parameter of a network
    """

    name: str
    kind: Kind
    distribution: str = ""
    shape: tuple[int, ...] = ()
    plates: tuple[str, ...] = ()
    auxiliary: bool = False
    masked: bool = False
    parameters: tuple[tuple[str, tuple[int, ...]], ...] = ()


@dataclass(frozen=True)
class Diagram:
    """The graph of a model or guide.

    :param of: "model" or "guide"
    :param nodes: the sites in the order of the run, then networks; inputs before the sites of a guide, and after
        those of a model. What no site depends on is not among them
    :param edges: (parent, child), direct ones only, both in the order of the nodes
    :param plates: (name, size)
    """

    of: Literal["model", "guide"]
    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]
    plates: tuple[tuple[str, int], ...]

    def parents(self, name: str) -> list[str]:
        return [parent for parent, child in self.edges if child == name]

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)
