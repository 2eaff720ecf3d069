"""A user's own data: an .npz or .npy file of arrays, or a folder of pictures. Nothing is ever unpickled.

    .npy    the rows x
    .npz    x, and optionally labels and covariates; or x_train and x_test, labels_train, labels_test, ...
    folder  .png, .jpg, .jpeg or .bmp of one size; flat, or a sub-folder per class (labels in order of names)

Rows of x are (d,), (h, w), (h, w, 1) or (h, w, 3). As pixels, integers are 0..255, floats lie in [0, 1] and
booleans are {0, 1}. Rows (d,) of integers may be pixels or counts: a law has to say which. Rows are shuffled in
one fixed order and cut into 80 % train, 10 % validation, 10 % test; a test set that is given stays as it is, and
the rest is cut into 90 % and 10 %. A split has at least one row.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.dataset import DataError, Source, cut

__all__ = ["is_path", "read"]

PICTURES = (".png", ".jpg", ".jpeg", ".bmp")


def is_path(name: str) -> bool:
    """Whether a name means a file or a folder: by its ending, a separator in it, or being a folder."""
    return name.lower().endswith((".npz", ".npy")) or "/" in name or os.sep in name or os.path.isdir(name)


def read(path: str, split: str, law: str | None) -> Source:
    """The rows among which a split is, checked, and as float32 where the law is real.

    Raises DataError for whatever is not as the first lines of this file say.
    """
    path = os.path.expanduser(path)
    arrays, pixels = _read_folder(path) if os.path.isdir(path) else _read_arrays(path), law != "real"
    for name in ("x", "x_train"):
        if law is None and name in arrays and arrays[name].ndim == 2 and arrays[name].dtype.kind in "ui":
            raise DataError(
                f"{path} has rows of integers: say {path}:grey if they are pixels, 0..255, or {path}:real for values "
                "as they are"
            )
    if "x" in arrays:
        return _shuffled(path, _source(path, arrays, "", pixels), test=True)
    if "x_train" not in arrays or "x_test" not in arrays:
        raise DataError(f"{path} has neither x nor x_train and x_test: save it with numpy.savez(path, x=...)")
    train, test = (_source(path, arrays, part, pixels) for part in ("_train", "_test"))
    if _kind(train) != _kind(test):
        raise DataError(f"{path}: train has {_kind(train)}, test has {_kind(test)}: store both alike")
    classes = None if train.classes is None else max(train.classes, test.classes)
    if split == "test":
        return replace(test, classes=classes, splits=cut(test=len(test.x)), stream=1)
    return _shuffled(path, replace(train, classes=classes), test=False)


def _shuffled(path: str, rows: Source, test: bool) -> Source:
    n, held = len(rows.x), max(1, len(rows.x) // 10)
    parts = ("train", "validation", "test") if test else ("train", "validation")
    if n < len(parts):
        raise DataError(f"{path} has too few rows, {n}: {', '.join(parts)} need one each")
    order = torch.from_numpy(np.random.RandomState(0).permutation(n))
    columns = {"x": rows.x, "labels": rows.labels, "covariates": rows.covariates}
    moved = {key: column[order] for key, column in columns.items() if column is not None}
    return replace(rows, **moved, splits=cut(n - held - test * held, held, test * held))


def _kind(rows: Source) -> str:
    labels = "no labels" if rows.labels is None else "labels"
    covariates = 0 if rows.covariates is None else rows.covariates.shape[1]
    return f"rows {tuple(rows.x.shape[1:])}, {rows.levels or 'no'} levels, {labels}, {covariates} covariates"


def _read_arrays(path: str) -> dict[str, np.ndarray]:
    if not os.path.isfile(path) or not path.lower().endswith((".npz", ".npy")):
        reason = "is not a kind of file that is read" if os.path.exists(path) else "does not exist"
        raise DataError(f"{path} {reason}: give an .npz or .npy file, or a folder of pictures")
    try:
        with open(path, "rb") as file:
            stored = np.load(file, allow_pickle=False)
            if isinstance(stored, np.ndarray):
                return {"x": stored}
            names = [key + part for key in ("x", "labels", "covariates") for part in ("", "_train", "_test")]
            return {name: np.asarray(stored[name]) for name in names if name in stored}
    except Exception as error:
        pickled = isinstance(error, ValueError) and "allow_pickle" in str(error)
        why = "pickled Python objects are never loaded" if pickled else f"{type(error).__name__}: {error}"
        raise DataError(f"{path} cannot be read ({why}): save arrays of numbers with numpy.savez") from error


def _read_folder(path: str) -> dict[str, np.ndarray]:
    inside = sorted(Path(path).iterdir())
    flat = _pictures(inside)
    classes = [found for folder in inside if folder.is_dir() and (found := _pictures(folder.iterdir()))]
    if bool(flat) == bool(classes):
        what = "pictures both in it and in sub-folders" if flat else f"no {', '.join(PICTURES)}"
        raise DataError(f"folder {path} has {what}: put all into it, or into one sub-folder per class")
    files = flat or [file for found in classes for file in found]
    images = [_read_picture(file) for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            raise DataError(
                f"{file} has shape {image.shape}, but {files[0].name} has {images[0].shape}: give all one "
                "size, all grey or all in colour"
            )
    labels = {} if flat else {"labels": np.repeat(np.arange(len(classes)), [len(found) for found in classes])}
    return {"x": np.stack(images), **labels}


def _pictures(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in PICTURES and not path.name.startswith("."))


def _read_picture(file: Path) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode[0] in "IF":  # PIL would clip the values at 255
                raise ValueError(f"mode {image.mode} has more than 8 bits a pixel")
            return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    except Exception as error:
        raise DataError(f"{file} is no 8-bit picture ({error}): convert it, or take it away") from error


def _source(path: str, arrays: dict[str, np.ndarray], part: str, pixels: bool) -> Source:
    x, levels = _values(f"{path}: x{part}", arrays["x" + part], pixels)
    labels, covariates = arrays.get("labels" + part), arrays.get("covariates" + part)
    for key, array, rank in (("labels", labels, 1), ("covariates", covariates, 2)):
        if array is not None and (array.ndim > rank or array.shape[:1] != (len(x),)):
            shape = f"({len(x)},)" if rank == 1 else f"({len(x)}, p)"
            raise DataError(f"{path}: {key}{part} has shape {array.shape}: expected one a row, {shape}")
    classes = None
    if labels is not None:
        if labels.dtype.kind not in "bui" or labels.astype(np.int64).min() < 0:
            raise DataError(f"{path}: labels{part} must number the classes with integers from 0")
        labels = torch.from_numpy(labels.astype(np.int64))
        classes = labels.max().item() + 1
    if covariates is not None:
        covariates = _finite(f"{path}: covariates{part}", covariates).view(len(x), -1)
    return Source(x, levels, labels, classes, covariates)


def _values(where: str, x: np.ndarray, pixels: bool) -> tuple[Tensor, int | None]:
    """Rows (n, d), (n, h, w) or (n, 3, h, w): uint8 with the number of levels, or float32 with None."""
    if x.ndim not in ((2, 3, 4) if pixels else (1, 2, 3, 4)) or (x.ndim == 4 and x.shape[3] not in (1, 3)):
        shapes = "(n, d), (n, h, w), (n, h, w, 1) or (n, h, w, 3)" + ("" if pixels else ", or (n,)")
        raise DataError(f"{where} has shape {x.shape}, expected {shapes}: reshape it")
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim == 4:
        x = x[..., 0] if x.shape[3] == 1 else np.moveaxis(x, 3, 1)
    values, kind = _finite(where, x), x.dtype.kind
    if not pixels:
        return values, None
    low, high = values.min().item(), values.max().item()
    if low < 0 or high > (1 if kind == "f" else 255):
        raise DataError(
            f"{where} lies in [{low:g}, {high:g}], expected pixels as integers 0..255 or floats in [0, 1]: "
            "rescale it, or use FILE:real for values that are not pixels"
        )
    if kind in "ui" and high <= 1:
        raise DataError(f"{where} has only integers 0 and 1, black among 256 levels: save them as bool")
    return (values, None) if kind == "f" else (values.to(torch.uint8), 2 if kind == "b" else 256)


def _finite(where: str, x: np.ndarray) -> Tensor:
    if x.dtype.kind not in "buif" or x.size == 0:
        raise DataError(f"{where} has shape {x.shape} and type {x.dtype}: expected at least one number a row")
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(x, dtype=np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{where} has values that are NaN, infinite or too large for float32: take them out")
    return torch.from_numpy(values)
