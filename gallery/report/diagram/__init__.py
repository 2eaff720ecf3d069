"""Plate diagrams, derived from the running code of a model or a guide.

diagram = relations(pair, (x,), "guide")    # nodes, edges, plates
factorisation(diagram)                      # "q(z | x; encoder)"
svg(diagram, "The guide of vae")            # the picture
"""

from pathlib import Path
from typing import Literal

from gallery.errors import RunError
from gallery.report.diagram.drawing import svg
from gallery.report.diagram.factorisation import factorisation
from gallery.report.diagram.graph import Diagram, Node
from gallery.report.diagram.relations import relations
from gallery.runs.specification import Run
from inference.files import write_atomically
from inference.pairs.run import arguments

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
