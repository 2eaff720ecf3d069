"""Tables of the user: CSV, TSV and Parquet files with named columns.

A table is named PATH[?columns=A,B&label=C&covariates=D&one_hot=E&codes=F]: the columns of x, all that are left if none
are named; the column of the labels; and the columns of the covariates. Of these, a column of categories is read as
one column of zeros and ones for each of them (`one_hot`), or as the numbers 0, 1, ... (`codes`), in their order.
`table_name` composes such a name. Values are read as they are (`real`), unless the name gives a pixel transform. A
number of x that is empty, nan, na or null is missing, and NaN, and such a label is unknown: see `files.py`.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from data.categories import categories_of, encoded, first_of, is_number
from data.dataset import DataError
from data.labels import MISSING

__all__ = ["columns_of", "from_table", "is_table", "table_name"]

SUFFIXES = {".csv": ",", ".tsv": "\t", ".parquet": ""}  # and what separates the columns
MARKS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
PARTS = ("columns", "label", "covariates", "one_hot", "codes")
REMEDY = "Leave it out with `columns`, make it the `label`, or encode it with `one_hot` or `codes`."
NO_VALUE = ": no value in "  # of a note on a column of x
OTHER_NOTATION = re.compile(r"[+-]?\d+((,| )\d+)+(\.\d+)?")  # of numbers, such as 0,5 and 1 000

Columns = dict[str, list[object]]


def is_table(name: str) -> bool:
    """Return whether a name, without a pixel transform, means a table.

    >>> is_table("iris.csv?label=species"), is_table("digits.npz")
    (True, False)
    """
    return os.path.splitext(name.partition("?")[0])[1].lower() in SUFFIXES


def table_name(
    name: str,
    columns: Sequence[str] = (),
    label: str | None = None,
    covariates: Sequence[str] = (),
    one_hot: Sequence[str] = (),
    codes: Sequence[str] = (),
) -> str:
    """Return the name of a table with its columns chosen.

    >>> import data
    >>> data.table_name("iris.csv", label="species", columns=["petal length", "petal width"])
    'iris.csv?columns=petal%20length,petal%20width&label=species'

    :param name: as of `data.load`, a pixel transform included
    :param columns: of x; all that are left if there are none
    :param label: the column of the labels
    :param covariates: the columns of the covariates
    :param one_hot: columns of x or covariates that hold categories: a column of zeros and ones is read for each of them
    :param codes: such columns that are read as numbers of the categories, 0, 1, ...
    :raises DataError: if the name is not that of a table
    """
    path, colon, transform = name.rpartition(":")
    if not (colon and is_table(path)):
        path, colon, transform = name, "", ""
    if not is_table(path) or "?" in path:
        raise DataError(f"columns are chosen of a .csv, .tsv or .parquet file, and {name!r} is none. Leave them out.")
    given = dict(zip(PARTS, (columns, [] if label is None else [label], covariates, one_hot, codes), strict=True))
    chosen = "&".join(
        f"{part}={','.join(quote(one, safe='') for one in names)}" for part, names in given.items() if names
    )
    return f"{path}?{chosen}{colon}{transform}" if chosen else name


def from_table(name: str) -> tuple[dict[str, dict[str, np.ndarray]], list[str]]:
    """Return x, and labels and covariates where columns are named for them, of the only part of the data, "".

    With it comes a note on each column of categories.

    :param name: of the table, without a pixel transform
    :raises DataError: if the file cannot be read, a column is missing or holds other values than numbers
    """
    path, table, chosen = _read(name)
    of_x = chosen["columns"]
    encoded, read = [*chosen["one_hot"], *chosen["codes"]], [*of_x, *chosen["covariates"]]
    for column in encoded:
        if column not in read:
            raise DataError(
                f"{path}: column {column!r} is encoded by `one_hot` or `codes`, and is neither a column of x nor "
                f"a covariate: {', '.join(read)}. Add it to `columns` or `covariates`."
            )
        if encoded.count(column) > 1:
            raise DataError(f"{path}: column {column!r} is named twice in `one_hot` and `codes`. Name it once.")
    notes: list[str] = []

    def matrix(columns: list[str], gaps: bool) -> np.ndarray:
        return np.concatenate([_matrix(path, table, column, chosen, notes, gaps) for column in columns], axis=1)

    arrays = {"x": matrix(of_x, gaps=True)}
    if (arrays["x"] == np.rint(arrays["x"])).all() and np.abs(arrays["x"]).max(initial=0) < 2**53:
        arrays["x"] = arrays["x"].astype(np.int64)  # as pixels are
    if chosen["label"]:
        (column,) = chosen["label"]
        arrays["labels"] = _labels(table[column])
        if empty := sum(map(_is_empty, table[column])):
            notes.append(f"{column}: no label in {empty} row{'s' if empty > 1 else ''}")
    if chosen["covariates"]:
        arrays["covariates"] = matrix(chosen["covariates"], gaps=False)
    return {"": arrays}, notes


def columns_of(name: str) -> dict[str, Any]:
    """Return the names of the columns that are read of a table, by the parameters of `table_name`.

    Of those that are encoded it has the categories, by name.

    :param name: of the table, without a pixel transform
    :raises DataError: if the file cannot be read, or a column is missing
    """
    _, table, chosen = _read(name)
    return chosen | {part: {of: categories_of(table[of]) for of in chosen[part]} for part in ("one_hot", "codes")}


def _read(name: str) -> tuple[str, Columns, dict[str, list[str]]]:
    """Return the path of a table, its columns, and the names of those that are chosen, with all that are x."""
    path, _, query = name.partition("?")
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise DataError(f"{path} does not exist. Give a .csv, .tsv or .parquet file.")
    separator = SUFFIXES[os.path.splitext(path)[1].lower()]
    table = _text(path, separator) if separator else _parquet(path)
    chosen = _chosen(path, query)
    apart = [*chosen["label"], *chosen["covariates"]]
    of_x = chosen["columns"] or [column for column in table if column not in apart]
    if missing := [column for column in (*of_x, *apart) if column not in table]:
        raise DataError(f"{path} has no column {missing[0]!r}. Its columns are {', '.join(table)}.")
    if not of_x:
        raise DataError(f"{path} has no column left for x. Its columns are {', '.join(table)}.")
    return path, table, chosen | {"columns": of_x}


def _chosen(path: str, query: str) -> dict[str, list[str]]:
    pairs = [one.partition("=") for one in query.split("&") if one]
    given = {part: names for part, _, names in pairs}
    if len(given) < len(pairs):
        raise DataError(f"{path} has a part of the table twice: {query}. Name each of {', '.join(PARTS)} once.")
    if unknown := [part for part in given if part not in PARTS]:
        raise DataError(f"{path}: unknown part {unknown[0]!r} of a table. Use {', '.join(PARTS)}.")
    return {part: [unquote(one) for one in given.get(part, "").split(",") if one] for part in PARTS}


def _text(path: str, separator: str) -> Columns:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            read = list(csv.reader(file, delimiter=separator))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}). Save it as text in UTF-8.") from error
    while read and not read[-1]:
        read.pop()
    one_column = all(len(line) < 2 for line in read)  # in which an empty line is a missing value
    lines = [line or [""] for line in read if line or one_column]
    if len(lines) < 2:
        raise DataError(f"{path} has {'no row' if lines else 'no line'}, expected column names and rows. Save it anew.")
    names = [name.strip() for name in lines[0]]
    if all(is_number(name) for name in names):
        raise DataError(f"{path} begins with numbers, expected the names of the columns. Add a line of names.")
    if "" in names:
        index = " pandas leaves out the index by to_csv(..., index=False)." if names[0] == "" else ""
        raise DataError(f"{path}: column {names.index('') + 1} of {len(names)} has no name. Give each a name.{index}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{path} has the column {twice[0]!r} twice. Rename one of them.")
    if len(names) == 1 and (other := [word for mark, word in MARKS.items() if mark in names[0] and mark != separator]):
        raise DataError(f"{path} is separated by {other[0]}, expected {MARKS[separator]}. Save it so.")
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(names):
            raise DataError(f"{path}: row {number} has {len(line)} values, expected {len(names)}. Mend that row.")
    return {name: [line[i].strip() for line in lines[1:]] for i, name in enumerate(names)}


def _parquet(path: str) -> Columns:
    try:
        from pyarrow import parquet
    except ImportError:
        raise DataError(
            f"{path} needs pyarrow, which is not installed. Use pip install pyarrow, or save it as .csv."
        ) from None
    try:
        return {str(name): values for name, values in parquet.read_table(path).to_pydict().items()}
    except Exception as error:  # of pyarrow, which has classes for each fault
        reason = " ".join(str(error).split())[:100]
        raise DataError(f"{path} cannot be read ({reason}). Save it anew, or as .csv.") from error


def _is_empty(value: object) -> bool:
    return value is None or str(value).lower() in MISSING


def _matrix(
    path: str, table: Columns, column: str, chosen: dict[str, list[str]], notes: list[str], gaps: bool
) -> np.ndarray:
    """Return a column as numbers, (n, 1) float64, or (n, number of categories) where it is encoded as one-hot.

    :param gaps: whether a number may be missing
    """
    values, one_hot = table[column], column in chosen["one_hot"]
    is_number = not (one_hot or column in chosen["codes"])
    empty = [row for row, value in enumerate(values, start=2) if _is_empty(value)]
    if empty and not (gaps and is_number):
        raise DataError(
            f"{path}: column {column!r} has no value in row {empty[0]}. Remove the row, or the column: only numbers of "
            "x may be missing."
        )
    if empty:
        rows = f"{len(empty)} rows, the first of them row" if empty[1:] else "row"
        notes.append(f"{column}{NO_VALUE}{rows} {empty[0]}")
    if is_number:
        return _numbers(path, column, ["nan" if _is_empty(value) else value for value in values])[:, None]
    matrix, categories = encoded(values, one_hot, f"{path}: column {column!r}")
    notes.append(f"{column}: {first_of(categories)} as {'columns of zeros and ones' if one_hot else 'numbers from 0'}")
    return matrix


def _numbers(path: str, column: str, values: list[object]) -> np.ndarray:
    """Return a column as numbers, (n,) float64."""
    for number, value in enumerate(values, start=2):
        if not is_number(value):
            raise DataError(
                f"{path}: column {column!r} has {str(value)[:30]!r} in row {number}, expected a number. "
                + ("Write it with a decimal point." if OTHER_NOTATION.fullmatch(str(value)) else REMEDY)
            )
        if abs(rounded := float(str(value))) >= 2**53 and _integer(value) not in (None, rounded):
            raise DataError(
                f"{path}: column {column!r} has the integer {str(value)[:30]} in row {number}, and float64 holds "
                f"integers up to {2**53} exactly. Subtract a constant."
            )
    return np.array([float(str(value)) for value in values])


def _integer(value: object) -> int | None:
    """Return the integer that a value is written as, sign and digits; None for other values."""
    word = str(value)
    digits = word[1:] if word[:1] in ("-", "+") else word
    return int(word) if digits.isdecimal() and len(digits) < 400 else None  # float64 ends before 400 digits


def _whole(word: str) -> int | None:
    """Return the integer that a word is equal to as a number, such as 1 of 1.0; None for other words."""
    if (written := _integer(word)) is not None or not is_number(word):
        return written
    number = float(word)
    return int(number) if number.is_integer() and abs(number) < 2**53 else None


def _labels(values: list[object]) -> np.ndarray:
    """Return labels as integers where all are, also as 1.0, else as strings; one that is missing is -1, or empty."""
    words = ["" if _is_empty(value) else str(value) for value in values]
    numbers = [-1 if word == "" else _whole(word) for word in words]
    whole = [number for number in numbers if number is not None and abs(number) < 2**63]
    return np.array(whole if len(whole) == len(words) else words)
