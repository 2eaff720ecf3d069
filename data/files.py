"""The user's data: a file of arrays, a table, or a folder of images. Nothing is ever unpickled.

    .npy    the rows x
    .npz    x, and optionally labels and covariates; or x_train and x_test, perhaps x_validation, labels_train, ...
            and `lengths` (or lengths_train, ...) where x has the steps of all sequences one after the other
    .csv    also .tsv and .parquet: named columns, see `tables.py`
    folder  .png, .jpg, .jpeg or .bmp of one size; flat, or a sub-folder per class (labels in order of names); either
            may stand in sub-folders train, validation (or val) and test, which are the splits

A row of x is (d,), (h, w), (h, w, 1) or (h, w, 3), or has its channels first. Read as pixels, integers are 0..255,
floats lie in [0, 1] and booleans are {0, 1}. Integers whose greatest is 128 or more have 256 levels, others as many as
the greatest and 0 span (0..16 is 17 levels); images have 256. A row (d,) of integers may hold pixels or counts, so the
name must give a pixel transform. Labels are integers, or strings, and are numbered in their order from 0; -1, NaN and
the strings "", nan, na and null are unknown labels. NaN in x of values that are no pixels is a missing value, which
only a model that masks it can be fitted to; NaN elsewhere is refused.

Rows are shuffled in one fixed order and split into 80 % train, 10 % validation and 10 % test. A validation or test set
that is given stays as it is, and the missing one is a tenth of the rest. A split has at least one row.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from data.arrays import Arrays, check_numbers, check_size, converted, from_file, lay_out
from data.dataset import DataError, Source, split_slices
from data.folders import from_folder
from data.labels import MISSING, numbered
from data.tables import from_table, is_table

__all__ = ["from_stored", "is_path", "read"]

IMAGE_LEVELS = 256


def is_path(name: str) -> bool:
    """Return whether a name means a file or a folder: by its ending, a separator in it, or being a folder."""
    return (
        name.lower().endswith((".npz", ".npy"))
        or is_table(name)
        or "/" in name
        or os.sep in name
        or os.path.isdir(name)
    )


@dataclass(frozen=True)
class Part:
    """The checked arrays of one part of a file, as views of what is stored.

    :param kind: how x is stored: "floats", "booleans", "integers", or "values" that are no pixels
    :param high: the greatest of x
    """

    x: np.ndarray
    kind: str
    high: float
    labels: np.ndarray | None
    covariates: np.ndarray | None

    @property
    def layout(self) -> str:
        """What must be the same in all parts, for the message if it is not."""
        levels = {"booleans": "2 levels", "integers": "integer levels"}.get(self.kind, "no levels")
        labels = "no labels" if self.labels is None else "labels"
        covariates = 0 if self.covariates is None else self.covariates.shape[1]
        return f"rows {self.x.shape[1:]}, {levels}, {labels}, {covariates} covariates"


def read(
    path: str,
    splits: Iterable[str],
    transform: str | None,
    dtype: torch.dtype = torch.float32,
    levels: int | None = None,
    label_values: Sequence[int | str] | None = None,
) -> list[Source]:
    """Read and check the rows of the file, or of its parts, that hold the splits.

    :param path: of an .npz or .npy file, of a table or of a folder of images; ~ is expanded
    :param splits: of "train", "validation", "test" and "all"
    :param transform: name of the pixel transform, or None; with "real" the values are not pixels
    :param dtype: of x, unless it is stored as integers with levels, and of covariates
    :param levels: number of levels of integers; inferred if None
    :param label_values: the label of each class; those of the file if None
    :return: the rows of the training file with its splits, and those of a test set where one is given
    :raises DataError: if the contents are not as the first lines of this file state
    """
    path = os.path.expanduser(path)
    images = os.path.isdir(path)
    stored, notes = from_folder(path) if images else from_table(path) if is_table(path) else (from_file(path), [])
    levels = IMAGE_LEVELS if images else levels
    return from_stored(path, stored, splits, transform, dtype, levels, label_values, notes, images)


def from_stored(
    path: str,
    stored: dict[str, Arrays],
    splits: Iterable[str],
    transform: str | None,
    dtype: torch.dtype,
    levels: int | None,
    label_values: Sequence[int | str] | None,
    notes: Sequence[str] = (),
    images: bool = False,
) -> list[Source]:
    """Check arrays, and return the rows that hold the splits; for the parameters and errors see `read`.

    :param path: of the file or folder that they are from, or another name for messages
    :param stored: the arrays of each part; emptied once they are checked
    :param images: whether they are of a folder of images
    """
    notes, pixels = list(notes), transform != "real"
    for arrays in stored.values():
        if transform is None and arrays["x"].ndim == 2 and arrays["x"].dtype.kind in "ui":
            raise DataError(
                f"{path} has rows of integers, which may be pixels or not. Use {path}:grey for pixels 0..255, or "
                f"{path}:real for other values."
            )
    parts = {part: _part(path, arrays, part, pixels, dtype, notes) for part, arrays in stored.items()}
    stored.clear()
    first, *others = parts
    for other in others:
        if parts[first].layout != parts[other].layout:
            raise DataError(
                f"{path}: {first} has {parts[first].layout}, but {other} has {parts[other].layout}. Store both alike."
            )
    levels = _levels(path, parts, levels)
    if images and max(own.high for own in parts.values()) == 1:
        raise DataError(f"{path} has only pixels 0 and 1, nearly black among 256 levels. Save images of 0 and 255.")
    labels = {_name("labels", part): own.labels for part, own in parts.items() if own.labels is not None}
    numbers, values = dict[str, np.ndarray](), None
    if labels:
        numbers, values, more = numbered(path, labels, label_values, () if images else MISSING)  # folders have names
        notes += more
    sources = []
    for stream, (places, slices) in enumerate(_places(path, {part: len(own.x) for part, own in parts.items()})):
        if not set(splits) & set(slices):
            continue
        held = [(parts[part], place, numbers.get(_name("labels", part))) for part, place in places.items()]
        source = Source(
            converted([(own.x, place) for own, place, _ in held], dtype if levels is None else torch.uint8),
            levels=levels,
            labels=_joined([(number, place) for _, place, number in held], torch.int64),
            classes=None if values is None else len(values),
            covariates=_joined([(own.covariates, place) for own, place, _ in held], dtype),
            splits=slices,
            stream=stream,
            label_values=values,
            notes=tuple(dict.fromkeys(notes)),
        )
        sources.append(source)
    return sources


def _name(key: str, part: str) -> str:
    return f"{key}_{part}" if part else key


def _joined(arrays: list[tuple[np.ndarray | None, np.ndarray]], dtype: torch.dtype) -> torch.Tensor | None:
    given = [(array, places) for array, places in arrays if array is not None]
    return converted(given, dtype) if given else None


def _places(path: str, rows: dict[str, int]) -> list[tuple[dict[str, np.ndarray], dict[str, slice]]]:
    """Return for the training file, and for a test set that is given, the places of the rows of each part, in which
    every split is a slice; and these slices.

    :param rows: number of rows of each part
    """
    main = next(iter(rows))
    n = rows[main]
    validation, test = rows.get("validation", 0), rows.get("test", 0)
    cut = [split for split, given in (("validation", validation), ("test", test)) if not given]
    if n < 1 + len(cut):
        raise DataError(f"{path}: too few rows, {n}; {', '.join(['train', *cut])} need one each. Add rows.")
    held = max(1, n // 10)
    places = np.empty(n, np.int64)
    places[np.random.RandomState(0).permutation(n)] = np.arange(n)
    trained = n - held * len(cut)
    own = {main: places}
    if validation:
        places[places >= trained] += validation
        own["validation"] = trained + np.arange(validation)
    files = [(own, split_slices(trained, validation or held, 0 if test else held))]
    if test:
        files.append(({"test": np.arange(test)}, split_slices(test=test)))
    return files


def _part(path: str, arrays: Arrays, part: str, pixels: bool, dtype: torch.dtype, notes: list[str]) -> Part:
    """Check the arrays of one part, and add to `notes` what is done to them."""
    where = f"{path}: {_name('x', part)}"
    x, note = lay_out(where, arrays["x"], pixels)
    check_size(where, x)
    low, high, coarse = check_numbers(where, x, dtype, gaps=not pixels)
    notes += filter(None, (note, coarse))
    kind = {"f": "floats", "b": "booleans"}.get(x.dtype.kind, "integers") if pixels else "values"
    if pixels and (low < 0 or high > (1 if kind == "floats" else 255)):
        raise DataError(
            f"{where} lies in [{low:g}, {high:g}], expected pixels as integers 0..255 or floats in [0, 1]. "
            "Rescale it, or use FILE:real for values that are not pixels."
        )
    labels, covariates = arrays.get("labels"), arrays.get("covariates")
    for key, array, rank in (("labels", labels, 1), ("covariates", covariates, 2)):
        if array is not None and (array.ndim > rank or array.shape[:1] != (len(x),)):
            shape = f"({len(x)},)" if rank == 1 else f"({len(x)}, p)"
            raise DataError(
                f"{path}: {_name(key, part)} has shape {array.shape}, expected {shape}. Give one per row of x."
            )
    if covariates is not None:
        coarse = check_numbers(f"{path}: {_name('covariates', part)}", covariates, dtype)[2]
        notes += filter(None, (coarse,))
        covariates = covariates.reshape(len(x), -1)
    return Part(x, kind, high, labels, covariates)


def _levels(path: str, parts: dict[str, Part], fixed: int | None) -> int | None:
    """Return the number of levels of the pixels of all parts; None for floats and for values that are no pixels."""
    kind, high = next(iter(parts.values())).kind, int(max(own.high for own in parts.values()))
    if kind == "booleans":
        return 2
    if kind != "integers":
        return None
    if fixed is None:
        return IMAGE_LEVELS if 2 * high >= IMAGE_LEVELS else max(2, high + 1)
    if high >= fixed:
        raise DataError(
            f"{path} has pixels up to {high}, and the model was fitted to {fixed} levels, 0..{fixed - 1}. Rescale them."
        )
    return fixed
