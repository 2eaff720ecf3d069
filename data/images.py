"""Image sets: the digits of scikit-learn, and the 28 x 28 sets of torchvision, read from their raw IDX files.

    digits         1,797 images, 8 x 8: Alpaydin and Kaynak, Optical recognition of handwritten digits, 1998
    mnist          70,000 images: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document
                   recognition, 1998
    fashion-mnist  70,000 images: Xiao, Rasul and Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking
                   machine learning algorithms, 2017
    kmnist         70,000 images: Clanuwat, Bober-Irizar, Kitamoto, Lamb, Yamamoto and Ha, Deep learning for classical
                   Japanese literature, 2018

Validation is the last 300 of 1,500 training rows of digits, and the last 5,000 of 60,000 of the other sets.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import torch
from torch import Tensor

from data.dataset import DataError, Source, split_slices

__all__ = ["HELD_OUT", "TORCHVISION", "digits", "download", "is_here", "read", "root_folder"]

TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}  # to class and folder
ROWS = {"train": 60_000, "t10k": 10_000}  # prefix of a file's name to its rows
HELD_OUT = 5_000  # the last training rows


def root_folder(root: str | Path | None = None) -> Path:
    """Return the folder of the sets: `root`, else $GALLERY_DATA, else `gallery` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    return Path(os.path.expanduser(root or os.environ.get("GALLERY_DATA") or os.path.join(cache, "gallery")))


@functools.cache  # the file is text: reading it takes longer than some fits
def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    stored = load_digits()
    return torch.from_numpy(stored.images).to(torch.uint8), torch.from_numpy(stored.target).long()


def digits() -> Source:
    """Return the 1,797 images (8, 8) with 17 grey levels that are installed with scikit-learn, and their labels."""
    images, labels = (stored.clone() for stored in _digits())
    return Source(images, levels=17, labels=labels, classes=10, splits=split_slices(1200, 300, 297))


def read(name: str, split: str, root: str | Path | None = None) -> Source:
    """Read the file of a torchvision set that holds a split: images (28, 28) with 256 grey levels, and labels.

    :param name: a key of TORCHVISION
    :param split: "train", "validation", "test" or "all"; only "test" has a separate file
    :param root: see `root_folder`
    :raises DataError: if a file is missing, cannot be read, or has other shapes or labels than the set
    """
    prefix = "t10k" if split == "test" else "train"
    n = ROWS[prefix]
    images = _read_idx(name, root, f"{prefix}-images-idx3-ubyte", (n, 28, 28))
    labels = _read_idx(name, root, f"{prefix}-labels-idx1-ubyte", (n,))
    splits = split_slices(test=n) if split == "test" else split_slices(n - HELD_OUT, HELD_OUT)
    return Source(images, 256, labels, classes=10, splits=splits, stream=int(split == "test"))


def is_here(name: str, root: str | Path | None = None) -> bool:
    """Return whether the four raw files of a torchvision set are on this machine."""
    kinds = ("images-idx3", "labels-idx1")
    return all((_raw(name, root) / f"{prefix}-{kind}-ubyte").is_file() for prefix in ROWS for kind in kinds)


def download(name: str, root: str | Path | None = None) -> Path:
    """Fetch a torchvision set unless it is here, check it against torchvision's checksums, and read it.

    :return: the folder of its raw files
    :raises DataError: if the network, the disk or the files fail
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
        raise DataError(f"{old} was written by an old torchvision. Delete it, and download again.")
    try:
        getattr(datasets, TORCHVISION[name])(raw.parent.parent, download=True)
    except Exception as error:
        raise DataError(
            f"{name!r} could not be downloaded into {raw} ({type(error).__name__}: {error}). Check network and disk, "
            "or copy the raw files into that folder."
        ) from error


def _raw(name: str, root: str | Path | None) -> Path:
    return root_folder(root) / TORCHVISION[name] / "raw"


def _read_idx(name: str, root: str | Path | None, file: str, shape: tuple[int, ...]) -> Tensor:
    """Read an IDX file of images (n, 28, 28) or labels (n,), uint8 or int64, and check it."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    path = _raw(name, root) / file
    if not path.is_file():
        packed = f" (only {file}.gz, which must be unpacked)" if path.with_name(f"{file}.gz").exists() else ""
        raise DataError(
            f"{name!r} is not on this machine: no file {path}{packed}. Run `gallery data download {name}`, "
            f"set GALLERY_DATA to the folder of {TORCHVISION[name]}/raw, or copy the raw files into {path.parent}."
        )
    remedy = f"Delete it, and run `gallery data download {name}`."
    try:
        values = (read_image_file if len(shape) == 3 else read_label_file)(str(path))
    except Exception as error:  # torchvision asserts, indexes and views: each of them means a broken file
        raise DataError(f"{path} is truncated or no IDX file ({type(error).__name__}). {remedy}") from error
    if values.shape != shape:
        raise DataError(f"{path} has shape {tuple(values.shape)}, expected {shape}. {remedy}")
    if len(shape) == 1 and values.max() > 9:
        raise DataError(f"{path} has a label {values.max()}, expected 0..9. {remedy}")
    return values
