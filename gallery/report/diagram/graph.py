"""The graph of a diagram: nodes, edges and plates."""

import re
from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["ROW", "Diagram", "Kind", "Node", "in_greek"]

ROW = "row"
"""The input of a guide with parameters per data point, which it looks up by row."""

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "omicron": "ο", "pi": "π", "rho": "ρ",
    "sigma": "σ", "tau": "τ", "upsilon": "υ", "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω",
}  # fmt: skip
LETTER = re.compile(rf"(?<![^\W_])({'|'.join(GREEK)})(?![^\W\d_])")  # a part of a name, between underscores or digits

Kind = Literal["latent", "enumerated", "observed", "deterministic", "factor", "input", "network"]


@dataclass(frozen=True)
class Node:
    """A node of the graph.

    :param kind: "enumerated" is a discrete latent that is summed out; "deterministic" is a Delta; "input" is an
        argument of the pair, or the row that parameters per data point are looked up by; "network" is one `pyro.module`
    :param distribution: family of a latent, observed or deterministic site
    :param shape: event shape
    :param plates: names of its plates
    :param auxiliary: whether it is an auxiliary site of the guide, which the model does not have
    :param masked: whether its density is masked, as under a flat prior
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
    :param nodes: the sites in the order of the run, then networks. Inputs come before the sites of a guide, and after
        those of a model. Inputs and networks without children are left out
    :param edges: (parent, child) of direct dependence, both in the order of the nodes
    :param plates: (name, size)
    """

    of: Literal["model", "guide"]
    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]
    plates: tuple[tuple[str, int], ...]

    def parents(self, name: str) -> list[str]:
        """Return the names of the parents of a node."""
        return [parent for parent, child in self.edges if child == name]

    def renamed(self, old: str, new: str) -> "Diagram":
        """Return the graph with another name for a node, which may be absent."""
        names = {old: new}
        nodes = tuple(replace(node, name=names.get(node.name, node.name)) for node in self.nodes)
        return replace(self, nodes=nodes, edges=tuple((names.get(a, a), names.get(b, b)) for a, b in self.edges))

    def in_greek(self) -> "Diagram":
        """Return the graph with the names of Greek letters in names as these letters: "theta_1" as "θ_1".

        It is unchanged where two names would be one.
        """
        names = {node.name: in_greek(node.name) for node in self.nodes}
        if len(set(names.values())) < len(names):
            return self
        nodes = tuple(
            replace(n, name=names[n.name], parameters=tuple((in_greek(name), of) for name, of in n.parameters))
            for n in self.nodes
        )
        return replace(self, nodes=nodes, edges=tuple((names[a], names[b]) for a, b in self.edges))

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)


def in_greek(name: str) -> str:
    """Return a name with its parts that are names of Greek letters as these letters.

    >>> in_greek("theta_1"), in_greek("log_sigma"), in_greek("data")
    ('θ_1', 'log_σ', 'data')
    """
    return LETTER.sub(lambda match: GREEK[match[1]], name)
