"""The user's data: an .npz or .npy file of arrays, or a folder of images. Nothing is ever unpickled.

    .npy    the rows x
    .npz    x, and optionally labels and covariates; or x_train and x_test, labels_train, labels_test, ...
    folder  .png, .jpg, .jpeg or .bmp of one size; flat, or a sub-folder per class (labels in order of names)

A row of x is (d,), (h, w), (h, w, 1) or (h, w, 3). Read as pixels, integers are 0..255, floats lie in [0, 1] and
booleans are {0, 1}. A row (d,) of integers may hold pixels or counts, so the name must give a pixel transform. Rows are
shuffled in one fixed order and split into 80 % train, 10 % validation and 10 % test. If a test set is given, it stays
as it is, and the rest is split into 90 % and 10 %. A split has at least one row.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.dataset import DataError, Source, split_slices

__all__ = ["is_path", "read"]

IMAGES = (".png", ".jpg", ".jpeg", ".bmp")


def is_path(name: str) -> bool:
    """Return whether a name means a file or a folder: by its ending, a separator in it, or being a folder."""
    return name.lower().endswith((".npz", ".npy")) or "/" in name or os.sep in name or os.path.isdir(name)


def read(path: str, split: str, transform: str | None) -> Source:
    """Read and check the rows of the file, or of its part, that holds a split.

    :param path: of an .npz or .npy file or of a folder of images; ~ is expanded
    :param split: "train", "validation", "test" or "all"
    :param transform: name of the pixel transform, or None; with "real" the values are not pixels
    :raises DataError: if the contents are not as the first lines of this file state
    """
    path = os.path.expanduser(path)
    arrays, pixels = _read_folder(path) if os.path.isdir(path) else _read_arrays(path), transform != "real"
    for name in ("x", "x_train"):
        if transform is None and name in arrays and arrays[name].ndim == 2 and arrays[name].dtype.kind in "ui":
            raise DataError(
                f"{path} has rows of integers, which may be pixels or not. Use {path}:grey for pixels 0..255, or "
                f"{path}:real for other values."
            )
    if "x" in arrays:
        return _shuffled(path, _source(path, arrays, "", pixels), test=True)
    if "x_train" not in arrays or "x_test" not in arrays:
        raise DataError(f"{path} has neither x nor x_train and x_test. Save it with numpy.savez(path, x=...).")
    train, test = (_source(path, arrays, part, pixels) for part in ("_train", "_test"))
    if _layout(train) != _layout(test):
        raise DataError(f"{path}: train has {_layout(train)}, but test has {_layout(test)}. Store both alike.")
    classes = None if train.classes is None or test.classes is None else max(train.classes, test.classes)
    if split == "test":
        return replace(test, classes=classes, splits=split_slices(test=len(test.x)), stream=1)
    return _shuffled(path, replace(train, classes=classes), test=False)


def _shuffled(path: str, source: Source, test: bool) -> Source:
    """Return the rows in the fixed order with their splits, of which test is one if there is no separate test set."""
    n, held = len(source.x), max(1, len(source.x) // 10)
    splits = ("train", "validation", "test") if test else ("train", "validation")
    if n < len(splits):
        raise DataError(f"{path} has too few rows, {n}: {', '.join(splits)} need one each. Add rows.")
    order = torch.from_numpy(np.random.RandomState(0).permutation(n))
    return replace(
        source,
        x=source.x[order],
        labels=None if source.labels is None else source.labels[order],
        covariates=None if source.covariates is None else source.covariates[order],
        splits=split_slices(n - held - test * held, held, test * held),
    )


def _layout(source: Source) -> str:
    """Return what must be the same in the training and the test set, for the message if it is not."""
    labels = "no labels" if source.labels is None else "labels"
    covariates = 0 if source.covariates is None else source.covariates.shape[1]
    return f"rows {tuple(source.x.shape[1:])}, {source.levels or 'no'} levels, {labels}, {covariates} covariates"


def _read_arrays(path: str) -> dict[str, np.ndarray]:
    if not os.path.isfile(path) or not path.lower().endswith((".npz", ".npy")):
        fault = "is no file of arrays" if os.path.exists(path) else "does not exist"
        raise DataError(f"{path} {fault}. Give an .npz or .npy file, or a folder of images.")
    try:
        with open(path, "rb") as file:
            stored = np.load(file, allow_pickle=False)
            if isinstance(stored, np.ndarray):
                return {"x": stored}
            names = [key + part for key in ("x", "labels", "covariates") for part in ("", "_train", "_test")]
            return {name: np.asarray(stored[name]) for name in names if name in stored}
    except Exception as error:
        pickled = isinstance(error, ValueError) and "allow_pickle" in str(error)
        reason = "pickled Python objects are never loaded" if pickled else f"{type(error).__name__}: {error}"
        raise DataError(f"{path} cannot be read ({reason}). Save arrays of numbers with numpy.savez.") from error


def _read_folder(path: str) -> dict[str, np.ndarray]:
    inside = sorted(Path(path).iterdir())
    flat = _images(inside)
    classes = [images for folder in inside if folder.is_dir() and (images := _images(folder.iterdir()))]
    if bool(flat) == bool(classes):
        fault = "images both in it and in sub-folders" if flat else f"no {', '.join(IMAGES)}"
        raise DataError(f"folder {path} has {fault}. Put all images into it, or into one sub-folder per class.")
    files = flat or [file for images in classes for file in images]
    arrays = [_read_image(file) for file in files]
    for file, array in zip(files, arrays, strict=True):
        if array.shape != arrays[0].shape:
            raise DataError(
                f"{file} has shape {array.shape}, but {files[0].name} has {arrays[0].shape}. Give all images one "
                "size, and make all grey or all coloured."
            )
    labels = {} if flat else {"labels": np.repeat(np.arange(len(classes)), [len(images) for images in classes])}
    return {"x": np.stack(arrays), **labels}


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in IMAGES and not path.name.startswith("."))


def _read_image(file: Path) -> np.ndarray:
    """Read an image as (h, w) or (h, w, 3), uint8."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode[0] in "IF":  # PIL would clip the values at 255
                raise ValueError(f"mode {image.mode} has more than 8 bits a pixel")
            return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    except Exception as error:
        raise DataError(f"{file} is no 8-bit image ({error}). Convert it, or remove it.") from error


def _source(path: str, arrays: dict[str, np.ndarray], part: str, pixels: bool) -> Source:
    """Check the arrays of one part, "", "_train" or "_test", and return them as tensors."""
    x, levels = _values(f"{path}: x{part}", arrays["x" + part], pixels)
    labels, covariates = arrays.get("labels" + part), arrays.get("covariates" + part)
    for key, array, rank in (("labels", labels, 1), ("covariates", covariates, 2)):
        if array is not None and (array.ndim > rank or array.shape[:1] != (len(x),)):
            shape = f"({len(x)},)" if rank == 1 else f"({len(x)}, p)"
            raise DataError(f"{path}: {key}{part} has shape {array.shape}, expected {shape}. Give one per row of x.")
    source = Source(x, levels)
    if labels is not None:
        if labels.dtype.kind not in "bui" or labels.astype(np.int64).min() < 0:
            raise DataError(
                f"{path}: labels{part} has values other than integers from 0. Number the k classes 0 to k - 1."
            )
        integers = labels.astype(np.int64)
        source = replace(source, labels=torch.from_numpy(integers), classes=int(integers.max()) + 1)
    if covariates is not None:
        source = replace(source, covariates=_finite(f"{path}: covariates{part}", covariates).view(len(x), -1))
    return source


def _values(where: str, x: np.ndarray, pixels: bool) -> tuple[Tensor, int | None]:
    """Return rows (n, d), (n, h, w) or (n, 3, h, w): uint8 with the number of levels, or float32 with None."""
    if x.ndim not in ((2, 3, 4) if pixels else (1, 2, 3, 4)) or (x.ndim == 4 and x.shape[3] not in (1, 3)):
        shapes = "(n, d), (n, h, w), (n, h, w, 1) or (n, h, w, 3)" + ("" if pixels else ", or (n,)")
        raise DataError(f"{where} has shape {x.shape}, expected {shapes}. Reshape it.")
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
            f"{where} lies in [{low:g}, {high:g}], expected pixels as integers 0..255 or floats in [0, 1]. "
            "Rescale it, or use FILE:real for values that are not pixels."
        )
    if kind in "ui" and high <= 1:
        raise DataError(f"{where} has only integers 0 and 1, which are nearly black among 256 levels. Save it as bool.")
    return (values, None) if kind == "f" else (values.to(torch.uint8), 2 if kind == "b" else 256)


def _finite(where: str, x: np.ndarray) -> Tensor:
    """Return an array as float32, checked to hold numbers that are finite."""
    if x.dtype.kind not in "buif" or x.size == 0:
        raise DataError(
            f"{where} has shape {x.shape} and type {x.dtype}, expected at least one number per row. Save an array of "
            "numbers."
        )
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(x, dtype=np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{where} has values that are NaN, infinite or too large for float32. Remove them.")
    return torch.from_numpy(values)
