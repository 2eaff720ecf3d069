"""News of Reuters as counts of words, `reuters`: 395 documents, 84,010 words of a vocabulary of 4,258.

There are 237 documents for training, 79 for validation and 79 for test. They are those of the package `lda`, in two
files: `reuters.ldac` has a line for each document (the number of different words, then word:count for each), and
`reuters.tokens` a line for each word. The files are read from the folder `reuters` of the sets, else from the installed
package. The rows are shuffled, by numpy's legacy generator, since the documents are in the order of their dates.

    Lewis, Yang, Rose and Li, RCV1: A new benchmark collection for text categorization research, 2004 (the collection).
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import torch

from data.dataset import DataError, Source, split_slices
from data.images import root_folder

__all__ = ["REUTERS", "reuters", "reuters_folder", "reuters_is_here"]

REUTERS = "reuters"
TEST, TRAIN, VALIDATION = 79, 237, 79  # in this order
FILES = {  # to their SHA-256
    "reuters.ldac": "4bfe5b21ed263334ddf7af56f7b38632f6ccae7d9441c8b56071167841e71b5e",
    "reuters.tokens": "8fc788b258bb76f9e352885cc20971d64e0011b8d74781129d060818930e3d5a",
}
REMEDY = "Install them by `pip install lda==3.0.2`"


def reuters_folder(root: str | Path | None = None) -> Path:
    """Return the folder of the files, in that of the sets."""
    return root_folder(root) / REUTERS


def reuters_is_here(root: str | Path | None = None) -> bool:
    """Return whether the files are on this machine."""
    return _found(root) is not None


def reuters(part: str, root: str | Path | None = None) -> Source:
    """Read the counts (n, 4258) of the documents that models are fitted to, or of "test".

    :param part: "test", else "train"
    :param root: of the sets, see `data.images.root_folder`
    :raises DataError: if the files are not here, or are not the original ones
    """
    folder = _found(root)
    if folder is None:
        raise DataError(
            f"{REUTERS!r} is not on this machine: neither {reuters_folder(root)} nor an installed package `lda` has "
            f"{' and '.join(FILES)}. {REMEDY}."
        )
    documents, words = (_read(folder / name).split("\n") for name in FILES)
    words, documents = [word for word in words if word], [line for line in documents if line]
    counts = np.zeros((len(documents), len(words)), np.float32)
    for row, line in zip(counts, documents, strict=True):
        for pair in line.split()[1:]:
            word, count = pair.split(":")
            row[int(word)] = int(count)
    shuffled = torch.from_numpy(counts[np.random.RandomState(0).permutation(len(counts))])
    is_test = part == "test"
    return Source(
        shuffled[:TEST] if is_test else shuffled[TEST:],
        splits=split_slices(test=TEST) if is_test else split_slices(TRAIN, VALIDATION),
        stream=int(is_test),
        column_names=tuple(words),
    )


def _found(root: str | Path | None) -> Path | None:
    """Return the folder that holds the files, None if there is none."""
    spec = importlib.util.find_spec("lda")
    installed = [] if spec is None else [Path(place) / "tests" for place in spec.submodule_search_locations or ()]
    for folder in (reuters_folder(root), *installed):
        if all((folder / name).is_file() for name in FILES):
            return folder
    return None


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__}). {REMEDY} again.") from error
    got = hashlib.sha256(content).hexdigest()
    if got != FILES[path.name]:
        raise DataError(
            f"{path} is not the original file: its SHA-256 is {got[:12]}..., expected {FILES[path.name][:12]}... "
            f"Remove it. {REMEDY}."
        )
    return content.decode()
