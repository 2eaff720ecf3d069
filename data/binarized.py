"""The original static binarisation of MNIST, `static_mnist`: 50,000, 10,000 and 10,000 images without labels.

Each pixel was drawn once, with its grey level as its probability, and the draws were published. Numbers on them compare
with published ones to the digit, which those on draws of another seed (`mnist:static`) do not.

Read are, in the folder `binarized_mnist`, the packed arrays `binarized_mnist.npz` (`train`, `valid` and `test`, the 784
pixels of a row in 98 bytes), or else the original text, `binarized_mnist_train.amat` and its two neighbours. Either
way the rows, written as text, must have the SHA-256 of the original files.

    Larochelle and Murray, The neural autoregressive distribution estimator, 2011.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import torch

from data.dataset import DataError, Source, split_slices
from data.images import root_folder

__all__ = ["STATIC_MNIST", "as_text", "static_folder", "static_is_here", "static_mnist"]

STATIC_MNIST = "static_mnist"
SIDE = 28
PIXELS = SIDE * SIDE
PARTS = {  # to rows, and the SHA-256 of the rows as text: values between single spaces, a newline after each row
    "train": (50_000, "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d"),
    "valid": (10_000, "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2"),
    "test": (10_000, "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c"),
}
REMEDY = "Copy the original file there again."


def static_folder(root: str | Path | None = None) -> Path:
    """Return the folder of the files, in that of the sets."""
    return root_folder(root) / "binarized_mnist"


def static_is_here(root: str | Path | None = None) -> bool:
    """Return whether the packed arrays or the three text files are on this machine."""
    return _packed(root).is_file() or all(_text(part, root).is_file() for part in PARTS)


def static_mnist(part: str, root: str | Path | None = None) -> Source:
    """Read the images (28, 28) of {0, 1}: those that models are fitted to, 50,000 and 10,000 for validation, or "test".

    :param part: "test", else "train"
    :param root: of the sets, see `data.images.root_folder`
    :raises DataError: if the files are not here, cannot be read, or are not the original ones
    """
    parts = ("test",) if part == "test" else ("train", "valid")
    x = torch.from_numpy(np.concatenate([_rows(each, root) for each in parts])).unflatten(1, (SIDE, SIDE))
    splits = split_slices(test=len(x)) if part == "test" else split_slices(PARTS["train"][0], PARTS["valid"][0])
    return Source(x, levels=2, splits=splits, stream=int(part == "test"))


def _packed(root: str | Path | None) -> Path:
    return static_folder(root) / "binarized_mnist.npz"


def _text(part: str, root: str | Path | None) -> Path:
    return static_folder(root) / f"binarized_mnist_{part}.amat"


def _rows(part: str, root: str | Path | None) -> np.ndarray:
    """Return the rows of a file (n, 784), uint8, checked."""
    n, expected = PARTS[part]
    packed, path = _packed(root), _text(part, root)
    if packed.is_file():
        path, rows = packed, _unpacked(packed, part, n)
        text = as_text(rows)
    elif path.is_file():
        try:
            text = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}). {REMEDY}") from error
    else:
        raise DataError(
            f"{STATIC_MNIST!r} is not on this machine: neither {packed} nor {path} exists. Copy one of them there, or "
            "set GALLERY_DATA to the folder that holds binarized_mnist."
        )
    if (got := hashlib.sha256(text).hexdigest()) != expected:
        raise DataError(
            f"{path} is not the original file: the SHA-256 of its {part} rows as text is {got[:12]}..., expected "
            f"{expected[:12]}... {REMEDY}"
        )
    return np.frombuffer(text, np.uint8).reshape(n, 2 * PIXELS)[:, ::2] - ord("0")


def _unpacked(path: Path, part: str, n: int) -> np.ndarray:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            rows = np.asarray(stored[part])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} has no array {part!r} that can be read ({type(error).__name__}). {REMEDY}") from error
    if rows.shape != (n, PIXELS // 8) or rows.dtype != np.uint8:
        raise DataError(
            f"{path}: {part!r} has shape {rows.shape} and type {rows.dtype}, expected ({n}, {PIXELS // 8}) and uint8. "
            f"{REMEDY}"
        )
    return np.unpackbits(rows, axis=1)


def as_text(rows: np.ndarray) -> bytes:
    """Return rows (n, 784) of {0, 1} as the original files have them."""
    text = np.full((len(rows), 2 * rows.shape[1]), ord(" "), np.uint8)
    text[:, ::2], text[:, -1] = rows + ord("0"), ord("\n")
    return text.tobytes()
