"""`gallery new`: write a pair to begin with, `skeleton.py` under another name."""

import keyword
from pathlib import Path

import gallery.models
from gallery.cli import skeleton
from gallery.errors import RunError
from inference.files import write_atomically

__all__ = ["SHAPES", "new", "write_skeleton"]

SHAPES = {
    "sequences": ("deep_markov", "vrnn:steps"),
    "a second plate": ("item_response:bayesian",),
    "missing values": ("factor_analysis:missing",),
    "global latents": ("linear_regression", "eight_schools"),
}
"""Models to copy where the skeleton, one latent for each data point, is not the shape: by what they have."""


def new(name: str, /, *, out: Path | None = None) -> None:
    """Write a new model, which can be fitted to digits without a change.

    :param name: Name of the model: my_model gives the class MyModel.
    :param out: Its file [NAME.py].
    """
    path, class_name = write_skeleton(name, out)
    model = f"{path}:{class_name}"
    print(f"{path}\ngallery check {model}\ngallery fit {model} --data digits:threshold")
    shapes = "; ".join(f"{shape}: {' or '.join(names)}" for shape, names in SHAPES.items())
    files = Path(gallery.models.__file__).parent
    print(f"to copy for {shapes} (`gallery show {SHAPES['sequences'][0]}`; files in {files})")


def write_skeleton(name: str, file: Path | None = None) -> tuple[Path, str]:
    """Write the skeleton as a model called `name`: `my_model` gives the class MyModel in my_model.py.

    :param file: the file to write; NAME.py if None
    :return: (the file, the name of the class)
    :raises RunError: if the name is not an identifier of Python, the file exists already, or it cannot be written
    """
    class_name = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    if not all(word.isidentifier() and not keyword.iskeyword(word) for word in (name, class_name)):
        raise RunError(
            f"{name!r} cannot name a class in Python: use letters, digits and _, as in `gallery new my_model`."
        )
    if class_name in vars(skeleton).keys() - {"Skeleton"}:
        raise RunError(f"{class_name} is the name of a class or module that the skeleton uses: choose another name.")
    path = file or Path(f"{name}.py")
    if path.suffix != ".py":
        raise RunError(f"--out must be a file that ends in .py, and {path} does not.")
    if path.exists():
        raise RunError(f"{path} exists already: nothing was written. Choose another name, or --out FILE.")
    if not path.parent.is_dir():
        raise RunError(f"there is no folder {path.parent}: make it first.")
    text = Path(skeleton.__file__).read_text(encoding="utf-8")
    text = text.replace("skeleton.py", str(path)).replace("runs/skeleton", f"runs/{name}")
    write_atomically(path, text.replace("Skeleton", class_name).encode())
    return path, class_name
