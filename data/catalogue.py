"""Names of data sets: SET[:TRANSFORM][:N-labels[-DRAW]] or SET[:TRANSFORM]:random-labels[-DRAW].

SET        a set of the catalogue, or the path of the user's file or folder
TRANSFORM  a pixel transform, see `pixels.py`
N-labels   how many labels are shown to a model, or random: all, and each replaced by a random one
DRAW       the number of the draw of these labels, 0 if left out
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from data import files, images, tables
from data.dataset import SPLITS, DataError, Dataset, Source
from data.labels import with_random_labels
from data.pixels import PIXEL_TRANSFORMS, TRANSFORMS
from data.sets import COPIED, IMAGES, LABELLED, PLAIN, SETS, TABLE
from data.splits import check_varies, draw_known, split_of
from data.synthetic import SYNTHETIC

__all__ = ["SetInfo", "absolute_name", "describe", "download", "is_file", "load", "load_splits", "transform_of"]


def load(
    name: str,
    split: str = "train",
    *,
    root: str | Path | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    levels: int | None = None,
    label_values: Sequence[int | str] | None = None,
) -> Dataset:
    """Load one split of a data set.

    An image set needs a pixel transform ("mnist:threshold"), a user's file may have one (FILE or FILE:grey): without
    it, pixels of two levels are read by `threshold`, others by `grey`. The other sets take none.

    N-labels ("mnist:threshold:100-labels") hides from the model all labels but those of N training rows, as many of
    each class, chosen by `seed` and the number of the draw ("100-labels-3"). With "random-labels" each label is
    replaced by one that is drawn uniformly over the classes, in all splits.

    The noise of a pixel transform is drawn from `seed` for a whole file at once, in a stream for each file: the rows of
    "train" equal the first rows of "all" to the bit. `load` leaves torch's generators as they are.

    >>> import data
    >>> train = data.load("digits:threshold", "train")
    >>> train.name, train.x.shape, train.x.unique()
    ('digits:threshold', torch.Size([1200, 64]), tensor([0., 1.]))
    >>> data.load("digits:threshold:100-labels", "train").known.sum()
    tensor(100)

    :param name: SET[:TRANSFORM][:N-labels[-DRAW]], where N is a number or "random"
    :param split: "train", "validation", "test", or "all" (train, then validation)
    :param root: folder of the sets that are not installed; $GALLERY_DATA, else the user's cache folder, if None
    :param seed: of the noise of the pixel transform and of the labels that are shown
    :param dtype: of x and covariates, torch.float32 or torch.float64; a user's file is read in it
    :param levels: number of grey levels of integers in the user's file; inferred from the greatest if None
    :param label_values: the label of each class in the user's file; those that occur, in order, if None. Other rows are
        read as those that a model was fitted to with `levels` and `label_values` of their `Dataset`
    :raises DataError: if the name, the split or the seed is invalid, or a file is missing or broken
    """
    found = load_splits(name, (split,), root=root, seed=seed, dtype=dtype, levels=levels, label_values=label_values)
    if split not in found:
        base = _split_transform(_split_labels(name)[0])[0]
        held = [other for other in SPLITS if load_splits(name, (other,), root=root, seed=seed, dtype=dtype)]
        raise DataError(f"{base!r} has no {split} split. Use {_join(held)}.")
    return found[split]


def load_splits(
    name: str,
    splits: Sequence[str] = ("train", "validation", "test"),
    *,
    root: str | Path | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    levels: int | None = None,
    label_values: Sequence[int | str] | None = None,
) -> dict[str, Dataset]:
    """Load several splits of a data set, reading a file once; a split that the set has not is left out.

    >>> import data
    >>> {split: len(rows) for split, rows in data.load_splits("line").items()}
    {'train': 200, 'test': 200}

    :param splits: of "train", "validation", "test" and "all"; for the other parameters see `load`
    :raises DataError: if the name, a split or the seed is invalid, or a file is missing or broken
    """
    for split in splits:
        if split not in SPLITS:
            raise DataError(f"unknown split {split!r}.{_suggest(split, SPLITS)} Use {_join(SPLITS)}.")
    if seed < 0:
        raise DataError(f"seed {seed} is negative. Use an integer from 0.")
    if dtype not in (torch.float32, torch.float64):
        raise DataError(f"{dtype} is no type of data. Use torch.float32 or torch.float64.")
    short, shown, draw = _split_labels(name)
    base, chosen = _split_transform(short)
    chosen = chosen or ("real" if tables.is_table(base) else None)
    loaded: dict[str, Dataset] = {}
    for source in _read(base, chosen, splits, root, dtype, levels, label_values):
        if shown == "random":
            source = with_random_labels(base, source, (seed, draw))
        known = None if shown is None or shown == "random" else draw_known(base, source, int(shown), (seed, draw))
        transform = chosen or ("threshold" if source.levels == 2 else "real" if base in PLAIN else "grey")
        if is_file(name) and "train" in source.splits:
            check_varies(base, source, transform)
        for split in splits:
            if split in source.splits and split not in loaded:
                full_name = (base if base in PLAIN else f"{base}:{transform}") + name.removeprefix(short)
                loaded[split] = split_of(full_name, split, source, transform, known, seed, dtype)
    return {split: loaded[split] for split in splits if split in loaded}


def is_file(name: str) -> bool:
    """Return whether a name leads to the user's file or folder, and not to a set of the catalogue.

    >>> import data
    >>> data.is_file("digits:grey"), data.is_file("mine.npz:grey")
    (False, True)
    """
    base, _ = _split_transform(_split_labels(name)[0])
    return base not in SETS and files.is_path(base)


def transform_of(dataset: Dataset) -> str:
    """Return the name of the pixel transform of a data set, "real" where its values are no pixels."""
    return _split_transform(_split_labels(dataset.name)[0])[1] or "real"


def absolute_name(name: str) -> str:
    """Return the name under which `load` reads the same data from any folder: a path in it is made absolute.

    A symbolic link at its end is not followed, for its target may have another ending.

    >>> import data
    >>> data.absolute_name("digits:grey")
    'digits:grey'
    >>> data.absolute_name("/usr/../mine.npz:grey:10-labels")
    '/mine.npz:grey:10-labels'

    :param name: as of `load`
    """
    if not is_file(name):
        return name
    base, _ = _split_transform(_split_labels(name)[0])
    path = Path(base).expanduser()
    return f"{path.parent.resolve() / path.name}{name.removeprefix(base)}"


def download(name: str, root: str | Path | None = None) -> Path:
    """Fetch `mnist`, `fashion-mnist` or `kmnist`, unless it is here, and check its files.

    >>> import data
    >>> try:
    ...     data.download("digits")
    ... except data.DataError as error:
    ...     print(error)
    'digits' needs no download. Sets to download are mnist, fashion-mnist and kmnist.

    :param name: of the set, without a pixel transform
    :param root: folder of the sets; $GALLERY_DATA, else the user's cache folder, if None
    :raises DataError: if the name is another one, or the network, the disk or the files fail
    """
    if name in COPIED:
        raise DataError(f"{name!r} has no download. Copy its files into {COPIED[name][1](root)}.")
    if name not in images.TORCHVISION:
        fault = "needs no download." if name in SETS else f"is unknown.{_suggest(name, images.TORCHVISION)}"
        raise DataError(f"{name!r} {fault} Sets to download are {_join(list(images.TORCHVISION), 'and')}.")
    return images.download(name, root)


class SetInfo(NamedTuple):
    """One set of the catalogue.

    >>> import data
    >>> data.SetInfo("mine", "a noisy circle", "100 train, 50 test", transforms=(), available=True).size
    '100 train, 50 test'

    :param name: of the set
    :param description: one line
    :param size: number of rows of each split
    :param transforms: names of its pixel transforms; empty for a set that takes none
    :param available: whether its files are on this machine
    :param has_classes: whether its rows have labels
    """

    name: str
    description: str
    size: str
    transforms: tuple[str, ...]
    available: bool
    has_classes: bool = False


def describe(root: str | Path | None = None) -> list[SetInfo]:
    """Describe every set of the catalogue, without reading any.

    >>> import data
    >>> data.describe()[0].size
    '1,200 train, 300 validation, 297 test'

    :param root: folder of the sets that are not installed; $GALLERY_DATA, else the user's cache folder, if None
    """
    return [
        SetInfo(name, *about, () if name in PLAIN else PIXEL_TRANSFORMS, _is_here(name, root), name in LABELLED)
        for name, about in TABLE.items()
    ]


def _is_here(name: str, root: str | Path | None) -> bool:
    return images.is_here(name, root) if name in images.TORCHVISION else name not in COPIED or COPIED[name][2](root)


def _read(
    base: str,
    transform: str | None,
    splits: Sequence[str],
    root: str | Path | None,
    dtype: torch.dtype,
    levels: int | None,
    label_values: Sequence[int | str] | None,
) -> list[Source]:
    """Read the files of a set that hold the splits, once the name and the pixel transform are valid."""
    if base in PLAIN and transform is not None:
        raise DataError(f"{base!r} has no grey levels, and takes no pixel transform {transform!r}. Use {base!r} alone.")
    if base in SYNTHETIC:
        return [SYNTHETIC[base]()]
    wanted = dict.fromkeys("test" if split == "test" else "train" for split in splits)
    if base in COPIED:
        return [COPIED[base][0](part, root) for part in wanted]
    if base in IMAGES:
        if transform not in PIXEL_TRANSFORMS:
            fault = f"has no pixel transform {transform!r}." if transform else "needs a pixel transform."
            hint = _suggest(transform, PIXEL_TRANSFORMS) if transform else ""
            raise DataError(f"{base!r} {fault}{hint} Use {_join([f'{base}:{known}' for known in PIXEL_TRANSFORMS])}.")
        return [images.digits()] if base == "digits" else [images.read(base, part, root) for part in wanted]
    if not files.is_path(base):
        raise DataError(
            f"unknown data set {base!r}.{_suggest(base, SETS)} Use one of {', '.join(SETS)}, or the path of an .npz, "
            ".npy, .csv, .tsv or .parquet file or of a folder of images."
        )
    if transform is not None and transform not in TRANSFORMS:
        raise DataError(
            f"unknown pixel transform {transform!r}.{_suggest(transform, TRANSFORMS)} Use {_join(list(TRANSFORMS))}."
        )
    return files.read(base, splits, transform, dtype, levels, label_values)


def _split_transform(name: str) -> tuple[str, str | None]:
    """Split SET:TRANSFORM. A colon inside a path, C:\\x.npy or the name of a file that exists, is part of SET."""
    base, colon, transform = name.rpartition(":")
    if not colon or (transform not in TRANSFORMS and ("/" in transform or os.sep in transform or os.path.exists(name))):
        return name, None
    return base, transform


def _split_labels(name: str) -> tuple[str, str | None, int]:
    """Return SET[:TRANSFORM], how many labels are shown ("random", or None for all), and the number of their draw."""
    match = re.fullmatch(r"(.+):(\d+|random)-labels(?:-(\d+))?", name)
    return (match[1], match[2], int(match[3] or 0)) if match else (name, None, 0)


def _suggest(word: str, words: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(words), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _join(words: Sequence[str], conjunction: str = "or") -> str:
    return f" {conjunction} ".join(filter(None, (", ".join(words[:-1]), words[-1])))
