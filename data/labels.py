"""Labels of the user's file as classes 0 .. K - 1, and random labels in place of those of a file.

An unknown label is -1 or NaN in the file, or empty, nan, na or null among names, and -1 here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from data.dataset import DataError, Source

__all__ = ["MISSING", "UNKNOWN", "label_generator", "label_values", "numbered", "with_random_labels"]

UNKNOWN = -1
MISSING = ("", "nan", "na", "null")  # an unknown label among names, in small letters


def with_random_labels(base: str, source: Source, seed: tuple[int, int]) -> Source:
    """Return the rows of a file with labels that are drawn uniformly over the classes, independently of the rows.

    An unknown label stays unknown. Files of a set have separate streams, as for the noise of their pixels.

    :param base: name of the set
    :raises DataError: if the set has no labels
    """
    if source.labels is None or source.classes is None:
        raise DataError(f"{base!r} has no labels to replace. Leave out ':random-labels'.")
    drawn = torch.randint(source.classes, source.labels.shape, generator=label_generator(*seed, source.stream))
    return replace(source, labels=drawn.where(source.labels != UNKNOWN, UNKNOWN))


def label_generator(seed: int, *numbers: int) -> torch.Generator:
    """Return a generator for labels, on another stream than the noise of pixels with any seed, and for other numbers.

    :param numbers: the draw; and of labels for all rows of a file, its stream
    """
    state = np.random.SeedSequence(seed, spawn_key=numbers)  # its numbers are not those of SeedSequence((seed, 0))
    return torch.Generator().manual_seed(state.generate_state(1).item())


def numbered(
    path: str,
    labels: dict[str, np.ndarray],
    values: Sequence[int | str] | None = None,
    missing: Sequence[str] = MISSING,
) -> tuple[dict[str, np.ndarray], tuple[int | str, ...], list[str]]:
    """Number the labels of all parts of a file by the sorted values that occur, or by given ones.

    :param labels: name in the file to its labels (n,): integers, floats that are integers, booleans or strings
    :param values: the label of each class, of the data that a model was fitted to
    :param missing: unknown labels among names, in small letters, unless `values` has them
    :return: the numbers (n,) int64 of each part, -1 where unknown; the label of each class; and notes
    :raises DataError: if labels are of another kind, none is known, or one is not among `values`
    """
    missing = [name for name in missing if name not in {str(value).lower() for value in values or ()}]
    stored = {name: _plain(f"{path}: {name}", array, missing) for name, array in labels.items()}
    if len({array.dtype.kind for array in stored.values()}) > 1:
        raise DataError(f"{path}: {' and '.join(stored)} are integers and strings. Store them alike.")
    together = np.concatenate(list(stored.values()))
    names = together.dtype.kind == "U"
    unknown = "" if names else UNKNOWN
    present = np.unique(together[together != unknown]).tolist()
    where = f"{path}: {next(iter(stored))}"
    if not present:
        raise DataError(f"{where} has no known label. Leave the labels out.")
    if present == [1] and any((array == UNKNOWN).any() for array in labels.values()):
        raise DataError(f"{where} has only 1 and -1, and -1 is an unknown label. Number the two classes 0 and 1.")
    notes = []
    for array in labels.values():
        if array.dtype.kind == "u" and array.size and array.max() == np.iinfo(array.dtype).max and len(present) > 1:
            notes.append(f"label {array.max()} is read as a class: if it stands for -1, store signed integers")
    if values is None or (isinstance(values[0], str) and not names):  # integers are the numbers of named classes
        values = range(max(len(values), present[-1] + 1)) if values else present
    elif isinstance(values[0], str) != names:
        raise DataError(f"{where} are strings, and the model was fitted to labels {_few(values)}. Store integers.")
    number = {value: k for k, value in enumerate(values)}
    other = [value for value in present if value not in number]
    if other:
        raise DataError(
            f"{where} has {other[0]!r}, and the model was fitted to labels {_few(values)}. Remove the rows."
        )
    at = np.array([number[value] for value in present], dtype=np.int64)
    numbers = {}
    for name, array in stored.items():
        known = array != unknown
        numbers[name] = np.where(known, at[np.searchsorted(present, array).clip(max=len(present) - 1)], UNKNOWN)
    return numbers, tuple(values), notes


def label_values(numbers: Tensor, values: Sequence[int | str] | None) -> np.ndarray:
    """Return the labels that numbers of classes stand for: what `numbered` has read.

    >>> label_values(torch.tensor([1, 0, UNKNOWN]), ("cat", "dog")).tolist()
    ['dog', 'cat', '']

    :param numbers: (n,), UNKNOWN where a label is unknown
    :param values: the label of each class; the numbers themselves if None
    """
    found = numbers.detach().cpu().numpy()
    if values is None:
        return found
    return np.array([*values, "" if isinstance(values[0], str) else UNKNOWN])[found]  # UNKNOWN is the last


def _plain(where: str, labels: np.ndarray, missing: Sequence[str]) -> np.ndarray:
    """Return labels as int64 with -1, or as strings with "", where they are unknown."""
    if labels.dtype.kind == "U":
        names = np.char.strip(labels)
        return np.where(np.isin(np.char.lower(names), missing), "", names)
    if labels.dtype.kind == "b":
        return labels.astype(np.int64)
    kind = labels.dtype.kind
    if kind == "f":
        known = ~np.isnan(labels)
        whole = np.where(known, labels, UNKNOWN)
        valid = bool((whole == np.rint(whole)).all()) and np.abs(whole).max(initial=0) < 2**53
        labels = whole.astype(np.int64) if valid else labels
    else:
        valid = kind in "ui" and labels.max(initial=0) < 2**63
    if not valid or labels.min(initial=0) < UNKNOWN:
        raise DataError(
            f"{where} has values other than integers from 0. Number the k classes 0 to k - 1; an unknown label is -1."
        )
    return labels.astype(np.int64)


def _few(values: Sequence[int | str]) -> str:
    shown = ", ".join(map(str, values[:5]))
    return shown + (", ..." if len(values) > 5 else "")
