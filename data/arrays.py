"""The arrays of the user's .npz or .npy file: reading, checking and converting them, in blocks of rows.

No more than one copy is made beside the stored arrays: an .npy file is mapped, checks go block by block, and rows are
converted straight into their final place.
"""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor

from data.dataset import DataError, blocks
from data.sequences import padded, split_by_length

__all__ = ["KEYS", "NAMES", "check_numbers", "check_size", "converted", "from_file", "lay_out", "parts_of"]

KEYS = ("x", "labels", "covariates", "lengths")
SUFFIXES = {"": "", "_train": "train", "_validation": "validation", "_val": "validation", "_test": "test"}  # to part
NAMES = tuple(key + suffix for key in KEYS for suffix in SUFFIXES)  # of the arrays of a file
NPY = b"\x93NUMPY"  # the first bytes of an .npy file
COARSE = 1e-3  # share of the range of a column from which rounding to the type of the fit is stated

Arrays = dict[str, np.ndarray]  # x, labels, covariates; and lengths, until the sequences of x are rows


def from_file(path: str) -> dict[str, Arrays]:
    """Return the arrays of a file: those of the part "", or of "train", "test" and perhaps "validation".

    :raises DataError: if it cannot be read, or holds neither x nor x_train
    """
    if not os.path.isfile(path) or not path.lower().endswith((".npz", ".npy")):
        fault = "is no file of arrays" if os.path.exists(path) else "does not exist"
        raise DataError(f"{path} {fault}. Give an .npz or .npy file, or a folder of images.")
    try:
        with open(path, "rb") as file:
            if file.read(len(NPY)) == NPY:
                return {"": {"x": np.load(path, mmap_mode="r", allow_pickle=False)}}
            file.seek(0)
            stored = np.load(file, allow_pickle=False)
            arrays = {key: np.asarray(stored[key]) for key in stored if key in NAMES}
    except Exception as error:
        pickled = isinstance(error, ValueError) and ("allow_pickle" in str(error) or "Python objects" in str(error))
        reason = "pickled Python objects are never loaded" if pickled else f"{type(error).__name__}: {error}"
        raise DataError(f"{path} cannot be read ({reason}). Save arrays of numbers with numpy.savez.") from error
    return parts_of(path, arrays)


def parts_of(path: str, stored: Arrays) -> dict[str, Arrays]:
    """Return named arrays by the part of the data that they are of: "", or "train", "test" and perhaps "validation".

    :param path: of the file, for messages
    :param stored: x, labels and covariates; or x_train, x_test, labels_train, ...; or x with the steps of all sequences
        one after the other, and their `lengths` (n,)
    :raises DataError: if there is neither x nor x_train and x_test, or `lengths` do not fit
    """
    arrays = {suffix: {key: stored[key + suffix] for key in KEYS if key + suffix in stored} for suffix in SUFFIXES}
    held = [suffix for suffix in SUFFIXES if "x" in arrays[suffix]]
    parts = {SUFFIXES[suffix]: arrays[suffix] for suffix in held}
    if len(parts) < len(held) or ("" in parts and len(parts) > 1):
        names = ", ".join(f"x{suffix}" for suffix in held)
        raise DataError(f"{path} has {names}. Store either x, or x_train and x_test and perhaps x_validation.")
    if "" not in parts and not {"train", "test"} <= set(parts):
        raise DataError(f"{path} has neither x nor x_train and x_test. Save it with numpy.savez(path, x=...).")
    sequences = {
        part: split_by_length(f"{path}: x_{part}".removesuffix("_"), of["x"], of.pop("lengths"))
        for part, of in parts.items()
        if "lengths" in of
    }
    longest = max((len(one) for of in sequences.values() for one in of), default=0)
    for part, of_part in sequences.items():
        parts[part]["x"] = padded(of_part, longest)
    return parts


def lay_out(where: str, x: np.ndarray, pixels: bool) -> tuple[np.ndarray, str | None]:
    """Return a view of x as rows (n, d), (n, h, w) or (n, 3, h, w), and a note where channels stand first in the file.

    :raises DataError: if it has another number of axes or channels
    """
    note = None
    channels_last = x.ndim == 4 and x.shape[3] in (1, 3)
    channels_first = x.ndim == 4 and x.shape[1] in (1, 3) and not channels_last
    if x.ndim not in ((2, 3, 4) if pixels else (1, 2, 3, 4)) or (x.ndim == 4 and not (channels_last or channels_first)):
        shapes = "(n, d), (n, h, w), (n, h, w, 1) or (n, h, w, 3)" + ("" if pixels else ", or (n,)")
        remedy = "Choose rows and channels, or order the axes with numpy.transpose: reshape would mix the pixels."
        if x.ndim == 4 and 4 in (x.shape[1], x.shape[3]):
            remedy = "Compose the alpha channel onto a ground, and store the three colours."
        raise DataError(f"{where} has shape {x.shape}, expected {shapes}. {remedy}")
    if x.ndim == 1:
        return x[:, None], None
    if channels_first:
        note = f"x has shape {x.shape}: read as {x.shape[1]} channels of {x.shape[2]} x {x.shape[3]} pixels"
    elif channels_last:
        x = np.moveaxis(x, 3, 1)
    return (x[:, 0] if x.ndim == 4 and x.shape[1] == 1 else x), note


def check_size(where: str, x: np.ndarray) -> None:
    """:raises DataError: if an array holds no numbers"""
    if x.dtype.kind not in "buif" or x.size == 0:
        raise DataError(
            f"{where} has shape {x.shape} and type {x.dtype}, expected at least one number per row. Save an array of "
            "numbers."
        )


def check_numbers(where: str, x: np.ndarray, dtype: torch.dtype, gaps: bool = False) -> tuple[float, float, str | None]:
    """Check that `dtype` holds the numbers of an array (n, ...).

    :param gaps: whether numbers may be missing, which are NaN; one at least may not
    :return: the least and the greatest of them, and a note where rounding is coarse against the range of a column
    :raises DataError: if a number is not finite or too large, or an integer would be rounded
    """
    check_size(where, x)
    name, kept = str(dtype).removeprefix("torch."), torch.empty(0, dtype=dtype).numpy().dtype
    largest, exact = np.finfo(kept).max, 2 ** (np.finfo(kept).nmant + 1)
    integers, rounded = x.dtype.kind in "iu", x.dtype.kind == "f" and x.dtype.itemsize > kept.itemsize
    lowest, highest = (np.fmin, np.fmax) if gaps else (np.minimum, np.maximum)  # the former leave out NaN
    low = high = off = None
    whole = np.ones(x[:1].size, bool)  # columns of integers, such as codes or counts, in floats
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in blocks(x.shape):
            block = x[rows].reshape(rows.stop - rows.start, -1)
            least, greatest = lowest.reduce(block), highest.reduce(block)
            low = least if low is None else lowest(low, least)
            high = greatest if high is None else highest(high, greatest)
            if integers and max(-int(least.min()), int(greatest.max())) > exact:
                inexact = block[block.astype(kept).astype(x.dtype) != block]
                if inexact.size:
                    wider = 'Use dtype=torch.float64 (precision "float64" of a fit), or s' if exact < 2**53 else "S"
                    raise DataError(
                        f"{where} has the integer {inexact[0]}, and {name} holds integers up to {exact} exactly. "
                        f"{wider}ubtract a constant."
                    )
            if rounded:
                error = highest.reduce(np.abs(block - block.astype(kept)))
                off = error if off is None else highest(off, error)
                whole &= ((block == np.rint(block)) | np.isnan(block)).all(0)
    assert low is not None
    assert high is not None
    if gaps:
        held = ~np.isnan(low)  # the columns that have a value
        if not held.any():
            raise DataError(f"{where} has no value: all are NaN, which stands for a missing one. Give some values.")
        low, high, off, whole = low[held], high[held], None if off is None else off[held], whole[held]
    if x.dtype.kind == "f" and not (np.abs(low) <= largest).all() & (np.abs(high) <= largest).all():  # NaN is neither
        kinds, remedy = (
            ("", "")
            if gaps
            else ("NaN, ", "; NaN in x of FILE:real alone is a missing value, or follows the end of a sequence")
        )
        raise DataError(f"{where} has values that are {kinds}infinite or too large for {name}. Remove them{remedy}.")
    note = None
    if off is not None and (coarse := (off > COARSE * (high - low)) | (whole & (off > 0))).any():
        worst = off[coarse].max()
        note = (
            f"{where.rpartition(': ')[2]} is rounded to {name}, by up to {worst:.2g} in a column: use precision "
            '"float64", or subtract a constant'
        )
    return float(low.min()), float(high.max()), note


def converted(arrays: list[tuple[np.ndarray, np.ndarray]], dtype: torch.dtype) -> Tensor:
    """Return arrays of equal rows as one tensor.

    :param arrays: (n_i, *shape) and the places (n_i,) of their rows in the tensor
    """
    shape = (sum(len(array) for array, _ in arrays), *arrays[0][0].shape[1:])
    out = torch.empty(shape, dtype=dtype)
    for array, places in arrays:
        for rows in blocks(array.shape):
            out.numpy()[places[rows]] = array[rows]
    return out
