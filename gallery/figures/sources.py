"""The code that draws each committed picture, and the hash of it that is recorded beside the picture.

    python -m gallery.figures.sources FOLDER ...    # of pictures that were drawn by the code as it is now

A test compares the records with the code, so a change of a drawing module without its pictures does not pass.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from inference.files import write_atomically

__all__ = ["RECORD", "SOURCES", "outdated", "record", "source_hash"]

RECORD = "drawn.json"  # beside the pictures: their names, and the hash of the code that drew them
SOURCES = {
    "autoencoders": ("activations", "contraction", "denoised", "sparsity"),
    "collapse": ("collapse",),
    "comparison": ("bound", "variance"),
    "components": ("components",),
    "conditionals": ("conditionals",),
    "curves": ("learning_curve",),
    "exact": ("amortisation", "evidence", "posterior"),
    "factor_analysis": ("data", "experiment_1", "experiment_2", "fixed_variance", "one_axis", "prior_samples"),
    "funnel": ("funnel",),
    "gibbs": ("gibbs",),
    "information": ("information",),
    "intervals": ("squares_and_kl",),
    "items": ("answers",),
    "labels": ("calibration", "labels_grow", "margins", "plane"),
    "latent": ("latent",),
    "odds": ("odds",),
    "originals": ("originals",),
    "pictures": ("manifold", "reconstructions", "samples", "three_views"),
    "posterior_error": ("error",),
    "rate": ("kl", "rate_distortion"),
    "regression": ("regression",),
    "responsibilities": ("responsibilities",),
    "rolls": ("rolls",),
    "sequence": ("animation", "completion"),
    "shared": ("shared",),
    "steps": ("paths", "smoothed"),
    "topics": ("topics",),
    "two_kls": ("two_kls",),
    "width": ("bits", "widths"),
}
"""By module of `gallery.figures`: the pictures that it draws. A picture NAME_MORE is drawn as NAME."""


def _module(picture: str) -> str:
    """Return the module that draws a picture.

    :param picture: its name without the ending
    :raises KeyError: if the gallery draws no such picture
    """
    modules = {name: module for module, names in SOURCES.items() for name in names}
    longest = max((name for name in modules if picture == name or picture.startswith(f"{name}_")), key=len, default="")
    return modules[longest or picture]


@cache
def source_hash(picture: str) -> str:
    """Hash the code of the module that draws a picture, without its comments and docstrings.

    >>> source_hash("two_kls") == source_hash("two_kls_of_a_fit") != source_hash("latent")
    True

    :param picture: its name without the ending
    """
    tree = ast.parse((Path(__file__).parent / f"{_module(picture)}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".png", ".gif"))


def record(folder: Path, names: Iterable[str] | None = None) -> None:
    """Record beside the pictures of a folder the hash of the code as it is now; call it when they are drawn.

    :param names: of the pictures, without the ending; all of the folder if None
    """
    file = folder / RECORD
    known = json.loads(file.read_text()) if file.exists() else {}
    drawn = [path.stem for path in _pictures(folder)]
    known |= {name: source_hash(name) for name in drawn if names is None or name in set(names)}
    kept = {name: known[name] for name in sorted(known) if name in drawn}
    write_atomically(file, (json.dumps(kept, indent=1) + "\n").encode())


def outdated(folder: Path) -> list[str]:
    """Return the pictures of a folder that have no record, or one of other code than there is now."""
    file = folder / RECORD
    known = json.loads(file.read_text()) if file.exists() else {}
    return [path.stem for path in _pictures(folder) if known.get(path.stem) != source_hash(path.stem)]


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        record(Path(argument))
