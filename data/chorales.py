"""Chorales of J. S. Bach as sequences of chords, `jsb_chorales`: 229, 76 and 77 sequences of 25 to 160 steps.

A step is 88 notes of {0, 1}, which sound or do not. Steps after the end of a chorale are NaN. The splits are those of
the published numbers on this set.

Read is, in the folder `jsb_chorales`, the file `jsb_chorales.npz`: for `train`, `valid` and `test` the steps of all
sequences one after the other, 88 notes in 11 bytes, and `train_lengths`, ..., the number of steps of each sequence.

    Boulanger-Lewandowski, Bengio and Vincent, Modeling temporal dependencies in high-dimensional sequences: Application
    to polyphonic music generation and transcription, 2012.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import torch

from data.dataset import DataError, Source, split_slices
from data.images import root_folder
from data.sequences import padded, split_by_length

__all__ = ["JSB_CHORALES", "chorales", "chorales_are_here", "chorales_folder"]

JSB_CHORALES = "jsb_chorales"
NOTES, STEPS = 88, 160  # of the longest sequence, which is in the test split
PARTS = {  # to sequences, and the SHA-256 of the packed steps and of the lengths as 64-bit integers
    "train": (229, "6a7c2c79070c8485fab3cb41f20b7c11c18dea8976a44b2a50f19cefcd898a92"),
    "valid": (76, "1a8cd889806836d76d1d6af7708737af251fd2d388b337a6fa0dd450b6921dd8"),
    "test": (77, "cd63637ea35ff757b56e61415dfe237c288760f5a0dc0a64e5e68aeaae55dc1c"),
}


def chorales_folder(root: str | Path | None = None) -> Path:
    """Return the folder of the file, in that of the sets."""
    return root_folder(root) / JSB_CHORALES


def chorales_are_here(root: str | Path | None = None) -> bool:
    """Return whether the file is on this machine."""
    return _file(root).is_file()


def chorales(part: str, root: str | Path | None = None) -> Source:
    """Read the sequences (160, 88): those that models are fitted to, 229 and 76 for validation, or "test".

    :param part: "test", else "train"
    :param root: of the sets, see `data.images.root_folder`
    :raises DataError: if the file is not here, cannot be read, or is not the original one
    """
    parts = ("test",) if part == "test" else ("train", "valid")
    x = torch.from_numpy(padded([sequence for each in parts for sequence in _sequences(each, root)], STEPS))
    splits = split_slices(test=len(x)) if part == "test" else split_slices(PARTS["train"][0], PARTS["valid"][0])
    return Source(x, splits=splits, stream=int(part == "test"))


def _file(root: str | Path | None) -> Path:
    return chorales_folder(root) / f"{JSB_CHORALES}.npz"


def _sequences(part: str, root: str | Path | None) -> list[np.ndarray]:
    """Return the sequences of a part (T_i, 88), uint8, checked."""
    (n, expected), path = PARTS[part], _file(root)
    remedy = "Copy the original file there again."
    if not path.is_file():
        raise DataError(
            f"{JSB_CHORALES!r} is not on this machine: {path} does not exist. Copy it there, or set GALLERY_DATA to "
            f"the folder that holds {JSB_CHORALES}."
        )
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            packed, lengths = np.asarray(stored[part]), np.asarray(stored[f"{part}_lengths"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} has no array {part!r} that can be read ({type(error).__name__}). {remedy}") from error
    if packed.shape[1:] != (NOTES // 8,) or packed.dtype != np.uint8 or lengths.shape != (n,):
        raise DataError(
            f"{path}: {part!r} has shape {packed.shape} and type {packed.dtype}, and {lengths.shape} lengths; expected "
            f"(steps, {NOTES // 8}), uint8 and ({n},). {remedy}"
        )
    got = hashlib.sha256(packed.tobytes() + lengths.astype("<i8").tobytes()).hexdigest()
    if got != expected:
        raise DataError(
            f"{path} is not the original file: the SHA-256 of its {part} steps is {got[:12]}..., expected "
            f"{expected[:12]}... {remedy}"
        )
    return split_by_length(f"{path}: {part}", np.unpackbits(packed, axis=1), lengths)
