"""Data sets of arrays in memory, checked and split as those of a file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints

from data.arrays import NAMES, check_numbers, lay_out, parts_of
from data.catalogue import transform_of
from data.dataset import SPLITS, DataError, Dataset, Source, split_slices
from data.files import from_stored
from data.pixels import TRANSFORMS
from data.splits import check_varies, split_of

__all__ = ["from_arrays", "rows_like"]

NEW_ROWS = 2  # number of the stream of their noise, beside those of the files of a set


def from_arrays(
    arrays: Mapping[str, np.ndarray],
    transform: str = "real",
    name: str = "arrays",
    dtype: torch.dtype = torch.float32,
) -> dict[str, Dataset]:
    """Return the splits of arrays in memory: those of an .npz file with the same arrays, by name.

    Rows are shuffled in one fixed order, and split into 80 % train, 10 % validation and 10 % test, unless a test set is
    given. "all" is train, then validation.

    >>> import data, numpy
    >>> splits = data.from_arrays({"x": numpy.random.default_rng(0).normal(size=(50, 3))})
    >>> {split: len(rows) for split, rows in splits.items()}
    {'train': 40, 'validation': 5, 'test': 5, 'all': 45}

    :param arrays: x, and optionally labels or covariates; or x_train and x_test, labels_train, ...; with `lengths`, x
        has the steps of all sequences one after the other
    :param transform: "real" for values as they are, else a pixel transform such as "grey" or "threshold"
    :param name: of the data set, for messages
    :param dtype: of x and covariates, torch.float32 or torch.float64
    :raises DataError: if an array is not as `data/files.py` states, or a name is unknown
    """
    if unknown := [key for key in arrays if key not in NAMES]:
        raise DataError(f"unknown array {unknown[0]!r}. Use x, labels and covariates, or x_train, x_test, ...")
    if transform not in TRANSFORMS:
        raise DataError(f"unknown pixel transform {transform!r}. Use {', '.join(TRANSFORMS)}.")
    stored = parts_of(name, {key: np.asarray(array) for key, array in arrays.items()})
    loaded: dict[str, Dataset] = {}
    for source in from_stored(name, stored, SPLITS, transform, dtype, None, None):
        if "train" in source.splits:
            check_varies(name, source, transform)
        for split in source.splits:
            loaded[split] = split_of(f"{name}:{transform}", split, source, transform, None, 0, dtype)
    return loaded


def rows_like(fitted: Dataset, x: np.ndarray) -> Tensor:
    """Return other rows in memory as those of a data set are scored: (n, d), of its type.

    Integers are pixels of its levels, and get its pixel transform; so do floats and booleans, which stay as they are
    where the transform has nothing to do: 0 and 1 under a binarisation, grey and dequantized floats.

    >>> import data, numpy
    >>> fitted = data.load("digits:threshold")
    >>> rows_like(fitted, numpy.full((2, 8, 8), 9, numpy.uint8)).unique()
    tensor([1.])

    :param fitted: the data that a pair was fitted to
    :param x: (n, *shape) or (n, d), with the channels of an image first or last
    :raises DataError: if they are no such pixels or numbers
    """
    transform = transform_of(fitted)
    pixels = transform != "real"
    rows, _ = lay_out("x", x, pixels)
    low, high, _ = check_numbers("x", rows, fitted.x.dtype, gaps=not pixels)
    shape, own = rows.shape[1:], tuple(fitted.shape)
    images = len(shape) > 1 and len(own) > 1
    if images and shape != own and np.prod(shape) == np.prod(own):  # of another size the pair names it
        raise DataError(f"x has rows of shape {shape}, and the fitted data {own}. Order its axes with numpy.transpose.")
    levels = _levels(fitted, rows.dtype.kind, low, high) if pixels else None
    if levels is None and transform == "dequantized":
        transform = "grey"  # they have their noise
    kept = torch.empty(0, dtype=torch.uint8 if levels else fitted.x.dtype).numpy().dtype
    source = Source(
        torch.from_numpy(np.ascontiguousarray(rows, kept)), levels, splits=split_slices(test=len(rows)), stream=NEW_ROWS
    )
    return split_of("x", "test", source, transform, None, 0, fitted.x.dtype).x.to(fitted.x.device)


def _levels(fitted: Dataset, kind: str, low: float, high: float) -> int | None:
    """Return the number of levels of other pixels; None of floats, and of 0 and 1 beside floats.

    :raises DataError: if they are others than the fitted ones
    """
    own = fitted.levels
    if kind == "f" and low >= 0 and high <= 1:
        return None
    if kind == "b":
        if own not in (None, 2) and fitted.support != constraints.boolean:
            raise DataError(f"x is booleans, and the fitted pixels have {own} levels. Give integers 0..{own - 1}.")
        return own if own == 2 else None
    if kind == "f" or low < 0 or high > (1 if own is None else own - 1):
        expected = "floats in [0, 1]" if own is None else f"integers 0..{own - 1} or floats in [0, 1]"
        raise DataError(f"x lies in [{low:g}, {high:g}], and the fitted pixels are {expected}. Rescale it.")
    if own is not None and own > 2 and high == 1:
        raise DataError(
            f"x has only the integers 0 and 1, nearly black among the {own} levels of the fitted pixels. Give floats "
            "for pixels that are scaled or binarised already."
        )
    return own
