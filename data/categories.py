"""Columns of categories, as numbers."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real

import numpy as np

from data.dataset import DataError

__all__ = ["categories_of", "encoded", "first_of", "is_number"]

MOST = 1000  # categories of a column
SHOWN = 6  # of them in a message


def categories_of(values: Iterable[object]) -> list[str]:
    """Return the categories of a column in their order: of numbers, where all are, else of words."""
    found = {str(value) for value in values}
    return sorted(found, key=(lambda word: (float(word), word)) if all(map(is_number, found)) else None)


def encoded(
    values: Iterable[object], one_hot: bool, name: str, categories: list[str] | None = None
) -> tuple[np.ndarray, list[str]]:
    """Return (a column of categories as numbers, float64; the categories in their order).

    >>> encoded(["b", "a", "b"], one_hot=True, name="kind")[0].tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]

    :param one_hot: (n, number of categories) zeros and ones; else (n, 1) numbers from 0
    :param name: of the column, for the message
    :param categories: of the data that a pair was fitted to; those of the column if None
    :raises DataError: if there are more than MOST categories, or another one than those that are given
    """
    values = list(values)
    words = [str(value) for value in values]
    categories = categories_of(words) if categories is None else categories
    if len(categories) > MOST:
        raise DataError(f"{name} has {len(categories)} categories, expected at most {MOST}. Leave it out.")
    places = {category: place for place, category in enumerate(categories)}
    numbers = {float(category): category for category in categories if is_number(category)}
    for place, value in enumerate(values):
        if words[place] not in places and isinstance(value, Real) and float(value) in numbers:
            words[place] = numbers[float(value)]  # as 2.0 and 2 are one number
    if strange := [word for word in words if word not in places]:
        raise DataError(
            f"{name} has {strange[0]!r}, and the fitted categories are {first_of(categories)}. Remove such rows."
        )
    codes = np.array([places[word] for word in words], dtype=int)
    return np.eye(len(categories))[codes] if one_hot else codes[:, None].astype(float), categories


def first_of(categories: list[str]) -> str:
    """Return the first categories, for a message."""
    return ", ".join(categories[:SHOWN]) + (", ..." if len(categories) > SHOWN else "")


def is_number(text: object) -> bool:
    """Return whether a word is a number, as tables have it."""
    if "_" in str(text):  # a number for Python alone
        return False
    try:
        float(str(text))
    except ValueError:
        return False
    return True
