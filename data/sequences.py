"""Sequences of unequal length as rows of one array, with NaN after the end of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from data.dataset import DataError

__all__ = ["padded", "split_by_length"]


def padded(sequences: Sequence[ArrayLike], length: int | None = None, where: str = "x") -> np.ndarray:
    """Return sequences of unequal length as one array of rows, with NaN after the end of each.

    >>> import data, numpy
    >>> data.padded([numpy.ones(2), numpy.zeros(3)])
    array([[ 1.,  1., nan],
           [ 0.,  0.,  0.]])

    :param sequences: an array (T_i, d) or (T_i,) for each
    :param length: of the rows, in steps; that of the longest sequence if None
    :param where: name of the data, for messages
    :return: (n, length, d), or (n, length) where a step is one number
    :raises DataError: if a sequence has no step, is longer than `length`, or has steps of another form than the first
    """
    arrays = [np.asarray(one) for one in sequences]
    if not arrays:
        raise DataError(f"{where} has no sequence. Give one at least.")
    first = arrays[0].shape
    expected = {1: "(T,)", 2: f"(T, {first[-1]})" if first else ""}.get(len(first), "(T,) or (T, d)")
    longest = max((len(one) for one in arrays if one.ndim), default=0) if length is None else length
    for i, one in enumerate(arrays):
        if one.dtype.kind not in "biuf" or one.ndim not in (1, 2) or one.shape[1:] != arrays[0].shape[1:]:
            raise DataError(
                f"sequence {i} of {where} has shape {one.shape} and type {one.dtype}, expected numbers of shape "
                f"{expected}, one row a step."
            )
        if not 0 < len(one) <= longest:
            raise DataError(
                f"sequence {i} of {where} has {len(one)} steps, expected from 1 to {longest}. Remove it, or cut it."
            )
    rows = np.full((len(arrays), longest, *arrays[0].shape[1:]), np.nan, np.result_type(np.float32, *arrays))
    for row, one in zip(rows, arrays, strict=True):
        row[: len(one)] = one
    return rows[..., 0] if rows.shape[2:] == (1,) else rows


def split_by_length(where: str, steps: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Return sequences that are stored one after the other.

    :param steps: (sum of lengths, d) or (sum of lengths,)
    :param lengths: (n,) numbers of steps
    :raises DataError: if the lengths are no positive integers whose sum is the number of steps
    """
    remedy = "Store the steps of all sequences one after the other, and the number of each, at least 1, as integers."
    if steps.ndim not in (1, 2) or steps.dtype.kind not in "biuf":
        raise DataError(
            f"{where} has shape {steps.shape} and type {steps.dtype}; with lengths, expected numbers of shape (steps,) "
            f"or (steps, d). {remedy}"
        )
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise DataError(
            f"{where} has lengths of shape {lengths.shape} and type {lengths.dtype}, expected integers of shape (n,). "
            f"{remedy}"
        )
    if (lengths < 1).any():
        i = int((lengths < 1).argmax())
        raise DataError(f"{where}: sequence {i} has the length {lengths[i]}, expected at least 1. Remove it.")
    if lengths.sum() != len(steps):
        raise DataError(f"{where} has {len(steps)} steps, and the lengths sum to {lengths.sum()}. {remedy}")
    return np.split(steps, np.cumsum(lengths)[:-1])
