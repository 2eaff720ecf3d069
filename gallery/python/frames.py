"""DataFrames: which of their columns are x, labels and covariates, and the numbers in them.

What a fit has read of a frame is stated by its names, as `names_in` returns them: `columns` of x, `label`,
`covariates`, and by column the categories of `one_hot` and `codes`. Other rows are read by the same names, and the same
categories.
"""

import json
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from torch import Tensor

from data.categories import categories_of, encoded
from data.tables import columns_of, is_table
from gallery.errors import RunError

__all__ = [
    "FRAME",
    "Encoded",
    "as_json",
    "as_read",
    "columns_as",
    "frame_in",
    "is_frame",
    "is_name",
    "is_unknown",
    "names_in",
    "names_of",
    "names_of_file",
    "of_frame",
    "words",
]

FRAME = "names_of_frame"  # the array of an .npz file that holds the names, as JSON
ENCODED = "one_hot", "codes"

Encoded = Sequence[str] | Mapping[str, list[str]]  # names of columns of categories, or their categories by name


def is_frame(data: Any) -> bool:
    """Return whether data are a DataFrame of pandas, or another with columns and `to_numpy`."""
    return hasattr(data, "columns") and hasattr(data, "to_numpy")


def frame_in(data: Any) -> Any:
    """Return the DataFrame that x is in: data, the first of a pair (x, y), or x of a dictionary; None without one.

    :param data: of splits, those of the training rows
    """
    while isinstance(data, Mapping):
        data = next((data[key] for key in ("train", "x", "x_train") if key in data), None)
    if isinstance(data, tuple) and len(data) == 2:
        data = data[0]
    return data if is_frame(data) else None


def names_of(names: Encoded | None) -> list[str]:
    """Return the names of columns as a list, of one name too; an empty list for None."""
    return [names] if isinstance(names, str | Integral) else [] if names is None else list(names)


def names_in(
    data: Any, label: Any, covariates: Any, columns: Sequence[str] | None, one_hot: Encoded, codes: Encoded
) -> dict[str, Any]:
    """Return the names by which other rows of DataFrames are read; an empty dictionary of data without one.

    The columns of x are named all, so that those of other rows may stand in another order, beside further ones. They
    are None where x is no DataFrame, but covariates beside it are.
    """
    frame = frame_in(data)
    beside = next((list(one.columns) for one in (covariates, _beside(data)) if is_frame(one)), None)
    if frame is None:
        return {"label": None, "covariates": beside, "columns": None, "one_hot": {}, "codes": {}} if beside else {}
    named = label if is_name(label) else None
    others = _covariates(covariates)
    chosen = [name for name in frame.columns if name != named and name not in others] if columns is None else columns
    known = {
        part: {name: categories_of(np.asarray(frame[name])) for name in names_of(names)}
        for part, names in (("one_hot", one_hot), ("codes", codes))
    }
    return {"label": named, "covariates": others or beside, "columns": names_of(chosen), **known}


def _beside(data: Any) -> Any:
    """Return the covariates that a pair or a dictionary has beside x."""
    if isinstance(data, Mapping) and "train" in data:
        data = data["train"]
    if isinstance(data, Mapping):
        return data.get("covariates", data.get("covariates_train"))
    return data[1] if isinstance(data, tuple) and len(data) == 2 else None


def as_json(names: dict[str, Any]) -> str:
    """Return names as JSON, in which a name may be an integer; `names_of_file` reads it."""
    return json.dumps(names | {part: list(names[part].items()) for part in ENCODED}, default=int)


def names_of_file(data: str) -> dict[str, Any]:
    """Return the same of the name of a table or of an .npz file, as of `data.load`; an empty dictionary of others."""
    name = data if is_table(data) else data.rpartition(":")[0]
    if is_table(name):
        chosen = columns_of(name)
        label = chosen["label"][0] if chosen["label"] else None
        return chosen | {"label": label, "covariates": chosen["covariates"] or None}
    if not name.endswith(".npz"):
        return {}
    with np.load(name, allow_pickle=False) as stored:
        names: dict[str, Any] = json.loads(str(stored[FRAME])) if FRAME in stored else {}
    return names | {part: dict(names[part]) for part in ENCODED if names}


def of_frame(
    frame: Any, label: Any, covariates: Any, columns: Sequence[str] | None, one_hot: Encoded, codes: Encoded
) -> dict[str, np.ndarray]:
    """Return the columns of a DataFrame by what they are; those that are neither labels nor covariates are x.

    :param label: name of the column of the labels; no name where they stand elsewhere
    :param covariates: names of the columns of the covariates; the same
    :raises RunError: if a column is missing, or holds other values than numbers
    """
    names, of_given = list(frame.columns), _covariates(covariates)
    apart = [*([label] if is_name(label) else []), *of_given]
    chosen = [name for name in names if name not in apart] if columns is None else names_of(columns)
    _check_there([*chosen, *apart], frame)
    if not chosen:
        raise RunError("no column is left for x.", f"Name some of {', '.join(map(str, names))} in columns.")
    read, categories = [*chosen, *of_given], [*names_of(one_hot), *names_of(codes)]
    if strange := [name for name in categories if name not in read or categories.count(name) > 1]:
        raise RunError(
            f"column {strange[0]!r} of one_hot or codes is not read, or is named twice.",
            f"Name columns of x or covariates once: {', '.join(map(str, read))}.",
        )
    arrays = {"x": _numbers(frame, chosen, one_hot, codes)}
    if is_name(label):
        values = np.asarray(frame[label])
        arrays["labels"] = _labels(values) if values.dtype.kind == "O" else values
    if of_given:
        arrays["covariates"] = _numbers(frame, of_given, one_hot, codes)
    return arrays


def columns_as(values: Any, part: str, names: dict[str, Any]) -> Any:
    """Return the columns of a DataFrame that were fitted as one part; other values as they are.

    :param part: "columns", those of x, or "covariates"
    :param names: as of `names_in`
    :raises RunError: if a column is missing, or holds other values than numbers
    """
    if not is_frame(values) or not names.get(part):
        return values
    _check_there(names[part], values)
    return _numbers(values, names[part], names["one_hot"], names["codes"])


def as_read(data: Any, names: dict[str, Any]) -> Any:
    """Return data whose DataFrames have the columns that were fitted: of x, of a pair (x, y), or of a dictionary."""
    if isinstance(data, Mapping):
        parts = {"x": "columns", "covariates": "covariates"}  # of x_train, covariates_test too
        return {key: columns_as(of, parts.get(str(key).partition("_")[0], ""), names) for key, of in data.items()}
    if isinstance(data, tuple) and len(data) == 2:
        return columns_as(data[0], "columns", names), columns_as(data[1], "covariates", names)
    return columns_as(data, "columns", names)


def _numbers(frame: Any, columns: Sequence[str], one_hot: Encoded, codes: Encoded) -> np.ndarray:
    return np.concatenate([_column(frame, name, one_hot, codes) for name in columns], axis=1)


def is_name(value: Any) -> bool:
    """Return whether a value names a column, as 3 does where pandas numbers the columns."""
    return isinstance(value, str | Integral)


def _check_there(columns: Sequence[str], frame: Any) -> None:
    names = list(frame.columns)
    if twice := [name for name in names if names.count(name) > 1]:
        raise RunError(f"data has the column {twice[0]!r} twice.", "Give each column a name.")
    if strange := [name for name in columns if not isinstance(name, str | Integral)]:
        raise RunError(
            f"a column is named {strange[0]!r}; expected strings or integers.",
            "Name them by frame.columns = [str(name) for name in frame.columns].",
        )
    if missing := [name for name in columns if name not in names]:
        raise RunError(f"there is no column {missing[0]!r}. The columns are {', '.join(map(str, names))}.")


def _covariates(covariates: Any) -> list[str]:
    """Return the names of the columns of covariates; none where they are values.

    Values are a tensor, an array of numbers, a Series, another frame, or a list in which a number comes twice.
    """
    numbers = isinstance(covariates, np.ndarray) and covariates.dtype.kind in "biuf"
    if numbers or isinstance(covariates, Tensor) or hasattr(covariates, "iloc") or is_frame(covariates):
        return []
    names = names_of(covariates)
    return names if all(map(is_name, names)) and len(set(names)) == len(names) else []


def _column(frame: Any, name: str, one_hot: Encoded, codes: Encoded) -> np.ndarray:
    """Return a column, (n, 1), or (n, number of categories) where it is encoded as one-hot."""
    values = np.asarray(frame[name])
    for part in (one_hot, codes):
        if name in names_of(part):
            if is_unknown(values).any():
                raise RunError(f"column {name!r} has no value in some rows.", "Remove these rows, or the column.")
            categories = part[name] if isinstance(part, Mapping) else None
            return encoded(values, part is one_hot, f"column {name!r}", categories)[0]
    if values.dtype.kind not in "biuf":
        raise RunError(
            f"column {name!r} has elements of type {frame[name].dtype}; expected numbers.",
            "Leave it out by columns=[...], name it as label, or have it encoded by one_hot=[...] or codes=[...].",
        )
    as_floats = values.astype(np.float64)
    if values.dtype.kind in "iu" and (as_floats.astype(values.dtype) != values).any():
        raise RunError(f"column {name!r} has integers beyond {2**53}, which float64 rounds.", "Subtract a constant.")
    return as_floats[:, None]


def _labels(values: np.ndarray) -> np.ndarray:
    """Return objects (n,) as numbers, NaN where they are missing, if all are, else as strings."""
    if any(isinstance(value, str) for value in values):
        return words(values)
    try:
        return np.where(is_unknown(values), np.nan, values).astype(np.float64)
    except (TypeError, ValueError):  # of no numbers, such as dates
        return words(values)


def words(values: np.ndarray) -> np.ndarray:
    """Return objects (n,) as strings, empty where they are missing."""
    return np.where(is_unknown(values), "", values.astype(str))


def is_unknown(values: np.ndarray) -> np.ndarray:
    """Return which values are missing, (n,) booleans: None, NaN, NaT, or pandas.NA."""
    return np.array([value is None or str(value) in ("nan", "NaT", "<NA>") for value in values])
