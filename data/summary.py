"""A summary of the user's data in a few lines, printed before a fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch

from data.dataset import Dataset
from data.tables import NO_VALUE

__all__ = ["describe_missing", "summary"]

SHOWN = 6  # classes at most whose labels are listed


def summary(splits: Mapping[str, Dataset]) -> list[str]:
    """Describe what was read: rows, shape, range, levels, covariates, classes, unknown labels, and notes of the file.

    >>> import data
    >>> print(*data.summary({split: data.load("digits:grey", split) for split in ("train", "test")}), sep="\\n")
    digits:grey: 1200 train, 297 test rows of shape (8, 8), float32
      x in [0, 1], from 17 levels
      10 classes

    :param splits: name to split of one data set
    """
    first, *_ = splits.values()
    sizes = ", ".join(f"{len(split)} {name}" for name, split in splits.items())
    known = [split.x[~split.x.isnan()] if split.missing else split.x for split in splits.values()]
    ends = torch.stack([end for x in known if x.numel() for end in x.aminmax()])
    low, high = ends.min().item(), ends.max().item()
    digits = 6 if high - low > 1e-3 * abs(high) else 12
    lines = [
        f"{first.name}: {sizes} rows of shape {first.shape}, {str(first.x.dtype).removeprefix('torch.')}",
        f"  x in [{low:.{digits}g}, {high:.{digits}g}]" + (f", from {first.levels} levels" if first.levels else ""),
    ]
    if missing := describe_missing(splits.values()):
        lines.append(f"  {missing}")
    if first.covariates is not None:
        lines.append(f"  {first.covariates.shape[1]} covariates")
    labels = [split.labels for split in splits.values() if split.labels is not None]
    if labels:
        unknown = torch.cat(labels) < 0
        line = f"  {first.classes} classes{_mapping(first)}"
        if unknown.any():
            line += f"; {unknown.double().mean():.1%} of the labels are unknown".replace("%", " %")
        if first.known is not None:
            line += f"; {first.known.sum()} {first.split} labels are shown to the model"
        lines.append(line)
    return lines + [f"  {note}" for note in first.notes]


def describe_missing(splits: Collection[Dataset], columns: bool = False) -> str | None:
    """Return how many entries of x are missing, in words; None if none is.

    >>> import data
    >>> describe_missing([data.load("nile", "train")]) is None
    True

    :param columns: whether to add which columns they are in: by name where the notes of a table have it, else by number
    """
    missing, entries = sum(split.missing for split in splits), sum(split.x.numel() for split in splits)
    if not missing:
        return None
    empty = sum(int(split.x.isnan().all(1).sum()) for split in splits)
    rows = f"; rows without an entry: {empty:,}" if empty else ""
    where = _columns_without_values(splits) if columns else ""
    return f"{missing:,} of {entries:,} entries of x are missing (NaN), {100 * missing / entries:.1f} %{where}{rows}"


def _columns_without_values(splits: Collection[Dataset]) -> str:
    notes = [note for split in splits for note in split.notes if NO_VALUE in note]
    gaps = torch.stack([split.x.isnan().any(0) for split in splits]).any(0)
    named = list(dict.fromkeys(notes)) or [str(int(k) + 1) for k in gaps.nonzero()]
    more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    before = "; " if notes else ", in column " if len(named) == 1 else ", in columns "
    return f"{before}{', '.join(named[:SHOWN])}{more}{'' if notes else f' of {len(gaps)}'}"


def _mapping(dataset: Dataset) -> str:
    """Return the labels that the classes 0, 1, ... stand for, unless they are the same numbers."""
    values = dataset.label_values
    if values is None or values == tuple(range(len(values))):
        return ""
    shown = ", ".join(f"{k} is {value}" for k, value in enumerate(values[:SHOWN]))
    return f" ({shown}{', ...' if len(values) > SHOWN else ''})"
