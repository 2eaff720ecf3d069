"""Plate diagrams, derived from the running code of a model or a guide.

diagram = relations(pair, (x,), "guide")    # nodes, edges, plates
factorisation(diagram)                      # "q(z | x; encoder)"
svg(diagram, "The guide of vae")            # the picture
"""

from pathlib import Path
from typing import Literal

from inference.checkpoint import write_atomically
from inference.pairs import arguments

from ..classes import RunError
from ..spec import Run
from .drawing import svg
from .factorisation import factorisation
from .graph import Diagram, Node
from .relations import relations

__all__ = ["Diagram", "Node", "factorisation", "relations", "save", "svg"]


def save(run: Run, of: Literal["model", "guide"], path: Path) -> Path:
    """Draws the model or the guide of a run, not fitted, into an .svg file; returns its path."""
    if path.suffix != ".svg":
        raise RunError(f"--diagram must end in .svg, and {path} does not.")
    if not path.parent.is_dir():
        raise RunError(f"there is no folder {path.parent}: make it first.")
    train, pair = run.datasets()["train"], run.build()
    diagram = relations(pair, arguments(pair, train.x, train.given), of, len(train))
    write_atomically(path, svg(diagram, f"The {of} of {run.model}").encode())
    return path
