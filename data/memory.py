"""Data sets of arrays in memory, checked and split as those of a file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from data.arrays import NAMES, parts_of
from data.dataset import SPLITS, DataError, Dataset
from data.files import from_stored
from data.pixels import TRANSFORMS
from data.splits import check_varies, split_of

__all__ = ["from_arrays"]


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
