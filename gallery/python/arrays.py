"""Data in memory, in any usual form, as the arrays of an .npz file."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data import Dataset, padded
from data.labels import UNKNOWN, label_values
from gallery.errors import RunError
from gallery.python.frames import (
    Encoded,
    as_read,
    columns_as,
    frame_in,
    is_frame,
    is_name,
    is_unknown,
    names_in,
    names_of,
    of_frame,
    words,
)

__all__ = ["array_of", "arrays_of", "other_arrays", "transform_for"]

FORMS = "a name, a Dataset, an array, a tensor, a DataFrame, a pair (x, labels), or an iterable of batches of tensors"
SPLITS = ("train", "validation", "test")
APART = ("label", "covariates")  # which may be arrays beside the DataFrames


def arrays_of(
    data: Any,
    label: Any = None,
    covariates: Any = None,
    columns: Sequence[str] | None = None,
    one_hot: Encoded = (),
    codes: Encoded = (),
) -> tuple[dict[str, np.ndarray], str | None]:
    """Return data as the arrays of an .npz file, by name, and their pixel transform where the data state it.

    >>> arrays, _ = arrays_of((torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])))
    >>> {name: array.shape for name, array in arrays.items()}
    {'x': (4, 2), 'labels': (4,)}

    Sequences of unequal length, arrays (T_i, d) or (T_i,), are made one array by `data.padded`. In a dictionary a list
    of them is x; a list alone is read as batches, which differ in length at the end at most.

    :param data: in one of FORMS; or a dictionary of such, by split, or of arrays by their names in an .npz file
    :param label: the labels (n,), or the name of their column
    :param covariates: the covariates (n, p), or the names of their columns
    :param columns: names of the columns of x; all other columns if None
    :param one_hot: names of columns of categories, each read as a column of zeros and ones for each category; or
        the categories by such a name, where they are known
    :param codes: names of columns of categories, read as numbers from 0; or the same
    :raises RunError: if the data have another form
    """
    if isinstance(data, Mapping) and data and set(data) <= set(SPLITS):
        options = {"label": label, "covariates": covariates, "columns": columns, "one_hot": one_hot, "codes": codes}
        first, *others = sorted(data, key=SPLITS.index)
        names = names_in(data[first], **options)
        parts = [arrays_of(data[first], **options)]
        parts += [_as_first(data[split], names, options) for split in others]
        joined = {
            f"{name}_{split}": array
            for split, (part, _) in zip((first, *others), parts, strict=True)
            for name, array in part.items()
        }
        return joined, parts[0][1]
    table = is_frame(data)
    if isinstance(data, tuple) and frame_in(data) is not None:
        arrays = arrays_of(data[0], label, covariates, columns, one_hot, codes)[0]
        return _named(arrays["x"], array_of(data[1], "labels")) | arrays, None
    if isinstance(data, Mapping):
        has_names = frame_in(data) is not None
        data = as_read(data, names_in(data, label, covariates, columns, one_hot, codes))
        columns, one_hot, codes = (None, (), ()) if has_names else (columns, one_hot, codes)
    if not table and hasattr(data, "to_numpy"):  # a Series
        data = data.to_numpy()
    if not table and (columns is not None or names_of(one_hot) or names_of(codes)):
        raise RunError(
            "columns, one_hot and codes name columns of a table, and data is no DataFrame.", "Leave them out."
        )
    if isinstance(data, Dataset):
        return _of_dataset(data)
    if isinstance(data, Mapping):
        arrays = {str(name): array_of(value, str(name)) for name, value in data.items()}
    elif table:
        arrays = of_frame(data, label, covariates, columns, one_hot, codes)
    elif isinstance(data, Tensor | np.ndarray):
        arrays = {"x": array_of(data, "x")}
    elif isinstance(data, tuple) and len(data) == 2:
        arrays = _named(array_of(data[0], "x"), array_of(data[1], "labels"))
    elif len(set((lengths := _lengths(data))[:-1])) > 1 or lengths[-1:] > lengths[:1]:
        raise RunError(
            "data is a list of arrays of unequal length, which may be sequences or batches.",
            "Give data.padded(...) of sequences, and batches joined as one array.",
        )
    elif isinstance(data, Iterable) and not isinstance(data, str | bytes):
        arrays = _of_batches(data)
    else:
        raise RunError(f"data is {_kind(data)}; expected {FORMS}.")
    for name, value in (("labels", label), ("covariates", covariates)):
        if value is None or (table and name in arrays):  # there a name of columns
            continue
        named = is_name(value) or (isinstance(value, list) and any(isinstance(one, str) for one in value))
        if named and not table:
            raise RunError(f"{name} names columns, and data is no DataFrame.", "Give an array of n rows.")
        arrays[name] = array_of(value, name)
    return arrays, None


def _as_first(data: Any, names: dict[str, Any], options: dict[str, Any]) -> tuple[dict[str, np.ndarray], str | None]:
    """Return a split as `arrays_of` does, its DataFrames with the columns and categories of the first split.

    :param names: of the first split, as of `frames.names_in`
    :param options: of `arrays_of`
    """
    if isinstance(data, Mapping):
        return arrays_of(as_read(data, names), options["label"], options["covariates"])
    if isinstance(data, tuple) and len(data) == 2:
        data = data[0], columns_as(data[1], "covariates", names)
    read = options | {part: of for part, of in names.items() if part not in APART}
    return arrays_of(data, **(options if frame_in(data) is None else read))


def other_arrays(x: Any, given: Any, fitted: Dataset, names: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return other data than those of a fit as arrays by name, of a DataFrame the columns that were fitted.

    What x or `given` has beside the rows is labels or covariates as the fitted data have them, integers or not.

    :param given: labels or covariates; None where there are none, or x has them
    :param fitted: the data that a pair was fitted to
    :param names: of the columns that were fitted, as of `frames.names_in`
    """
    kind, other = ("labels", "covariates") if fitted.covariates is None else ("covariates", "labels")
    if given is not None:
        rows = arrays_of(as_read(x, names))[0]["x"]
        return {"x": rows, kind: array_of(columns_as(given, "covariates", names), kind)}
    if names and is_frame(x):
        there = list(x.columns)
        label = names["label"] if names["label"] in there else None
        covariates = names["covariates"] if set(names["covariates"] or ()) & set(there) else None
        return arrays_of(x, **(names | {"label": label, "covariates": covariates}))[0]
    arrays = arrays_of(as_read(x, names))[0]
    if "x" not in arrays:
        raise RunError("the given data are splits.", "Give one of them.")
    return {kind if name == other and kind not in arrays else name: array for name, array in arrays.items()}


def transform_for(x: np.ndarray) -> str:
    """Return how an array is read that states no pixel transform.

    Rows of floats, and sequences that end before others, are values as they are ("real"); images, booleans and numbers
    that are all 0 or 1 are pixels.

    :raises RunError: if it has rows of integers, which may be pixels or counts
    """
    if x.dtype.kind == "f" and np.isnan(x).any():
        return "real"
    if x.dtype == bool or (x.size and ((x == 0) | (x == 1)).all()):
        return "threshold"
    if x.ndim > 2:
        return "grey"
    if x.ndim == 2 and x.dtype.kind in "iu":
        raise RunError(
            "x has rows of integers, which may be pixels or not.",
            'Use transform="grey" for pixels, or transform="real" for values as they are.',
        )
    return "real"


def _kind(value: Any) -> str:
    return f"of type {type(value).__name__}"


def array_of(value: Any, name: str) -> np.ndarray:
    """Return a tensor or a sequence as an array of numbers or strings; arrays of unequal length as rows with NaN."""
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_nested or value.is_meta:
            raise RunError(f"{name} is no dense tensor with values.", "Give a dense one, such as x.to_dense().")
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() and value.itemsize < 4 else value
        return value.resolve_conj().resolve_neg().numpy()
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        raise RunError(f"{name} has masked entries, which hold no values.", "Remove or fill them.")
    if len(set(_lengths(value))) > 1:
        return padded([array_of(one, name) for one in value], where=name)
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise RunError(f"{name} is no array: {' '.join(str(error).split())[:100]}.") from error
    is_column = name == "labels" and array.dtype.kind == "O" and array.ndim == 1
    if is_column and all(isinstance(value, str) for value in array[~is_unknown(array)]):
        return words(array)
    if array.dtype.kind not in "biufU":
        raise RunError(f"{name} has elements of type {array.dtype}; expected numbers.", "Encode it as numbers.")
    return array.copy() if any(stride < 0 for stride in array.strides) else array  # torch takes no such view


def _lengths(value: Any) -> list[int]:
    """Return the lengths of the arrays in a list; none if it is no list of arrays (T,) or (T, d)."""
    are_arrays = isinstance(value, list) and all(isinstance(one, Tensor | np.ndarray) for one in value)
    return [len(one) for one in value] if are_arrays and all(one.ndim in (1, 2) for one in value) else []


def _named(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Return x with y as its labels, or as its covariates where y are floats."""
    return {"x": x, "covariates" if y.dtype.kind == "f" else "labels": y}


def _of_dataset(dataset: Dataset) -> tuple[dict[str, np.ndarray], str]:
    x = dataset.x.detach().cpu().unflatten(-1, dataset.shape).numpy()
    arrays = {"x": x}
    if dataset.covariates is not None:
        arrays["covariates"] = dataset.covariates.detach().cpu().numpy()
    if dataset.labels is not None:
        known = dataset.labels if dataset.known is None else dataset.labels.where(dataset.known, UNKNOWN)
        arrays["labels"] = label_values(known, dataset.label_values)
    support = str(dataset.support)
    if dataset.transform is not None:
        return arrays, "dynamic"
    return arrays, "threshold" if support == "Boolean()" else "grey" if "Interval" in support else "real"


def _of_batches(data: Iterable[Any]) -> dict[str, np.ndarray]:
    """Return the batches of a DataLoader or of another iterable, one after the other.

    What yields single rows, (d,), or pairs of a row and its label, is no sequence of batches.
    """
    parts: list[dict[str, np.ndarray]] = []
    with torch.random.fork_rng(devices=[]):  # a DataLoader draws a seed
        for batch in data:
            if isinstance(batch, Tensor | np.ndarray):
                parts.append({"x": array_of(batch, "x")})
            elif isinstance(batch, list | tuple) and len(batch) in (1, 2) and isinstance(batch[0], Tensor | np.ndarray):
                x = array_of(batch[0], "x")
                parts.append({"x": x} if len(batch) == 1 else _named(x, array_of(batch[1], "labels")))
            else:
                raise RunError(
                    f"data is no array, and what it yields is {_kind(batch)}; expected batches: tensors, or pairs of "
                    "tensors (x, labels).",
                    "Give an array, such as numpy.array(data) or data.toarray(), or a DataLoader.",
                )
    if not parts:
        raise RunError("data yields no batch; an iterator can be read once only.", "Give a DataLoader or a list.")
    forms = [{name: array.shape[1:] if array.ndim else None for name, array in part.items()} for part in parts]
    for part, form in zip(parts, forms, strict=True):
        if form != forms[0] or not form["x"] or None in form.values():
            raise RunError(
                f"data yields {_shapes(parts[0])}{'' if part is parts[0] else f', then {_shapes(part)}'}; expected "
                "batches of one kind, x (n, ...) with or without labels (n,).",
                "Join rows by numpy.stack, and give x or (x, labels); of a torch Dataset give a DataLoader.",
            )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _shapes(part: dict[str, np.ndarray]) -> str:
    return " and ".join(f"{name} {tuple(array.shape)}" for name, array in part.items())
