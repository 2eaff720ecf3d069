"""Digits of scikit-learn, and the 28 x 28 sets of torchvision read from their raw IDX files."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from data.dataset import DataError, Source, cut

__all__ = ["TORCHVISION", "digits", "download", "is_here", "read", "root_folder"]

TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}  # to class and folder
ROWS = {"train": 60_000, "t10k": 10_000}  # prefix of a file's name to its rows
HELD_OUT = 5_000  # the last training rows


def root_folder(root: str | Path | None = None) -> Path:
    """Where sets are kept: `root`, else $GALLERY_DATA, else `gallery` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    return Path(os.path.expanduser(root or os.environ.get("GALLERY_DATA") or os.path.join(cache, "gallery")))


def digits() -> Source:
    """The 1797 pictures of 8 x 8 pixels with 17 levels that come with scikit-learn."""
    from sklearn.datasets import load_digits

    stored = load_digits()
    images, labels = torch.from_numpy(stored.images).to(torch.uint8), torch.from_numpy(stored.target).long()
    return Source(images, levels=17, labels=labels, classes=10, splits=cut(1200, 300, 297))


def read(name: str, split: str, root: str | Path | None = None) -> Source:
    """The file of a torchvision set that holds a split.

    Raises DataError for a file that is missing, cannot be read, or has other shapes or labels than the set.
    """
    prefix = "t10k" if split == "test" else "train"
    n = ROWS[prefix]
    images = _read_idx(name, root, f"{prefix}-images-idx3-ubyte", (n, 28, 28))
    labels = _read_idx(name, root, f"{prefix}-labels-idx1-ubyte", (n,))
    splits = cut(test=n) if split == "test" else cut(n - HELD_OUT, HELD_OUT)
    return Source(images, 256, labels, classes=10, splits=splits, stream=int(split == "test"))


def is_here(name: str, root: str | Path | None = None) -> bool:
    """Whether the four raw files of a torchvision set are on this machine."""
    kinds = ("images-idx3", "labels-idx1")
    return all((_raw(name, root) / f"{prefix}-{kind}-ubyte").is_file() for prefix in ROWS for kind in kinds)


def download(name: str, root: str | Path | None = None) -> Path:
    """Fetch a set, unless it is here, with torchvision's checksums; read it; return the folder of its files.

    Raises DataError if the network, the disk or the files fail.
    """
    if not is_here(name, root):
        _fetch(name, _raw(name, root))
    for split in ("train", "test"):
        read(name, split, root)
    return _raw(name, root)


def _fetch(name: str, raw: Path) -> None:
    from torchvision import datasets

    old = raw.with_name("processed")
    if old.exists():  # torchvision would load its pickles, and fetch nothing
        raise DataError(f"{old} was left by an old torchvision: delete it, and download again")
    try:
        getattr(datasets, TORCHVISION[name])(raw.parent.parent, download=True)
    except Exception as error:
        raise DataError(
            f"{name!r} could not be downloaded into {raw} ({type(error).__name__}: {error}): check network "
            "and disk, or put the raw files there by hand"
        ) from error


def _raw(name: str, root: str | Path | None) -> Path:
    return root_folder(root) / TORCHVISION[name] / "raw"


def _read_idx(name: str, root: str | Path | None, file: str, shape: tuple[int, ...]) -> Tensor:
    from torchvision.datasets.mnist import read_image_file, read_label_file

    path = _raw(name, root) / file
    if not path.is_file():
        packed = f" (only {file}.gz, which must be unpacked)" if path.with_name(f"{file}.gz").exists() else ""
        raise DataError(
            f"{name!r} is not on this machine: no file {path}{packed}; run `gallery data download {name}`, "
            f"set GALLERY_DATA to the folder of {TORCHVISION[name]}/raw, or put raw files into {path.parent}"
        )
    remedy = f"delete it, and run `gallery data download {name}`"
    try:
        values = (read_image_file if len(shape) == 3 else read_label_file)(str(path))
    except Exception as error:  # torchvision asserts, indexes and views: each of them means a broken file
        raise DataError(f"{path} is truncated or no IDX file ({type(error).__name__}): {remedy}") from error
    if values.shape != shape:
        raise DataError(f"{path} has shape {tuple(values.shape)}, expected {shape}: {remedy}")
    if len(shape) == 1 and values.max() > 9:
        raise DataError(f"{path} has a label {values.max()}, expected 0..9: {remedy}")
    return values
