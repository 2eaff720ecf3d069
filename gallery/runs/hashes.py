"""Hashes of the data of a run in its run.json, by which a change of the user's file is found."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from data import Dataset
from data.tables import columns_of, is_table
from gallery.errors import RunError
from gallery.runs.folder import SPECIFICATION
from gallery.runs.parse import read_json

__all__ = ["check_unchanged", "hashes"]

PARTS = {
    "train": "training rows",
    "validation": "validation rows",
    "test": "test rows",
    "columns": "names of the columns",
}


def hashes(data: str, splits: Mapping[str, Dataset]) -> dict[str, str]:
    """Return the hash of each split, and of the names of the columns of a table.

    :param data: name of the data set
    :param splits: as of `Run.datasets`
    """
    found = {split: rows.hash for split, rows in splits.items()}
    name = data if is_table(data) else data.rpartition(":")[0]
    if is_table(name):
        found["columns"] = hashlib.sha256(json.dumps(columns_of(name)).encode()).hexdigest()
    return found


def check_unchanged(folder: Path, data: str, splits: Mapping[str, Dataset], remedy: str) -> None:
    """Check that the data of the run in a folder are those that it was fitted to.

    :param data: name of the data set
    :param splits: as of `Run.datasets`
    :param remedy: what to do if not
    :raises RunError: if the rows of a split or the names of columns have changed
    """
    stored = read_json(folder / SPECIFICATION)
    before = (stored.get("hashes") or {}) | {"train": stored["data_hash"]}
    for part, now in hashes(data, splits).items():
        if before.get(part, now) != now:
            words = f"the {PARTS[part]} of {data} have changed since {folder} was fitted"
            raise RunError(f"{words}: their hash differs.", remedy)
