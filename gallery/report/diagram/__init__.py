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
    """Write the diagram of the model or guide of a run to an .svg file, and return its path.

    The run need not be fitted.

    :raises RunError: if `path` is no .svg file, or its folder is missing
    """
    if path.suffix != ".svg":
        raise RunError(f"A diagram is an SVG file: expected a path that ends in .svg, got {path}.")
    if not path.parent.is_dir():
        raise RunError(f"The folder {path.parent} does not exist. Create it first.")
    train, pair = run.datasets()["train"], run.build()
    diagram = relations(pair, arguments(pair, train.x, train.given), of, len(train))
    write_atomically(path, svg(diagram, f"The {of} of {run.model}").encode())
    return path
