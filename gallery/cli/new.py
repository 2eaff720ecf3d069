"""`gallery new`: a pair to begin with, `skeleton.py` under another name."""

import keyword
from pathlib import Path

from gallery.cli import skeleton
from gallery.errors import RunError
from inference.files import write_atomically


def new(name: str, file: Path | None = None) -> tuple[Path, str]:
    """Writes the skeleton as a model called `name`; returns (its file, the name of its class): `my_model` is the class
    MyModel in my_model.py.

    :raises RunError: if the name is none of Python's, the file is there already, or it cannot be written
    """
    title = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    if not (name.isidentifier() and title.isidentifier()) or keyword.iskeyword(name) or keyword.iskeyword(title):
        raise RunError(
            f"{name!r} cannot name a class in Python: use letters, digits and _, as in `gallery new my_model`."
        )
    if title in vars(skeleton).keys() - {"Skeleton"}:
        raise RunError(f"{title} is the name of something that the skeleton uses: choose another.")
    path = file or Path(f"{name}.py")
    if path.suffix != ".py":
        raise RunError(f"--out is the file of a model, so it ends in .py, and {path} does not.")
    if path.exists():
        raise RunError(f"{path} is there already: nothing was written. Choose another name, or --out FILE.")
    if not path.parent.is_dir():
        raise RunError(f"there is no folder {path.parent}: make it first.")
    text = Path(skeleton.__file__).read_text(encoding="utf-8")
    text = text.replace("skeleton.py", str(path)).replace("runs/skeleton", f"runs/{name}").replace("Skeleton", title)
    write_atomically(path, text.encode())
    return path, title
