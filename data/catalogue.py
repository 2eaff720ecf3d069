"""Names of data sets: SET[:LAW][:N-labels[-DRAW]], where SET is one of the catalogue or a path, and LAW a pixel law."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from data import files, images
from data.dataset import SPLITS, DataError, Dataset, Source
from data.laws import LAWS, PIXEL_LAWS
from data.synthetic import SYNTHETIC

__all__ = ["Row", "describe", "download", "load", "located"]

IMAGES = ("digits", *images.TORCHVISION)
SETS = (*IMAGES, *SYNTHETIC)


def load(name: str, split: str = "train", *, root: str | Path | None = None, seed: int = 0) -> Dataset:
    """One split of a data set: "train", "validation", "test", or "all" (train, then validation).

    `name` is SET:LAW for pictures ("mnist:threshold"), SET for synthetic sets ("line"), FILE[:LAW] for the
    user's own; without a law, booleans of a file are read as `threshold` and its other pixels as `grey`. Sets
    that do not come along are looked for under `root` (default: $GALLERY_DATA, else the user's cache folder),
    never on the network. With `:N-labels` at the end ("mnist:threshold:100-labels") a model is shown the labels of N
    training rows only, drawn from `seed`, as many of each class, and of no other row; `:N-labels-3`
    is another draw of them, number 3.

    Noise of the pixel law comes from `seed`, in a stream for each file of a set, and is drawn for the whole
    file: "train" is the first rows of "all" bit for bit.

    Raises DataError for an unknown name, law or split, and for a file that is missing or broken.
    """
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r}{_nearest(split, SPLITS)}: use one of {', '.join(SPLITS)}")
    if seed < 0:
        raise DataError(f"seed {seed} is negative: use 0, 1, 2, ...")
    shown = name
    name, few, draw = _shown(name)
    base, law = _parse(name)
    source = _read(base, law, split, root)
    known = None if few is None else _known(base, source, few, (seed, draw))
    if split not in source.splits:
        raise DataError(f"{base!r} has no {split} split: use one of {', '.join(source.splits)}")
    if law is None:
        law = "real" if base in SYNTHETIC else "threshold" if source.levels == 2 else "grey"
    rows, pixels = source.splits[split], source.x.flatten(1)

    def noise() -> Tensor:
        stream = np.random.SeedSequence((seed, source.stream)).generate_state(1).item()
        generator = torch.Generator("cpu").manual_seed(stream)
        return torch.rand(pixels.shape, generator=generator, dtype=torch.float32, device="cpu")[rows]

    once, support, afresh = LAWS[law]
    if afresh and split in ("train", "all"):
        once = LAWS["grey"].once
    else:
        afresh = None
    return Dataset(
        name=(base if base in SYNTHETIC else f"{base}:{law}") + shown.removeprefix(name),
        split=split,
        x=once(pixels[rows], source.levels, noise),
        shape=tuple(source.x.shape[1:]),
        labels=None if source.labels is None else source.labels[rows],
        classes=source.classes,
        covariates=None if source.covariates is None else source.covariates[rows],
        support=support,
        levels=source.levels,
        transform=afresh,
        known=None if known is None else known[rows],
    )


def located(name: str) -> str:
    """The name under which `load` finds the same data from any folder: a path in it is told from the root.

    A last link is not followed, for what it leads to may have another ending.
    """
    base, _ = _parse(_shown(name)[0])
    if base in SETS or not files.is_path(base):
        return name
    path = Path(base).expanduser()
    return f"{path.parent.resolve() / path.name}{name.removeprefix(base)}"


def download(name: str, root: str | Path | None = None) -> Path:
    """Fetch `mnist`, `fashion-mnist` or `kmnist` under `root`, and return the folder of its raw files.

    Raises DataError for another name, and if the network, the disk or the files fail.
    """
    if name not in images.TORCHVISION:
        reason = "needs no download" if name in SETS else f"is unknown{_nearest(name, images.TORCHVISION)}"
        raise DataError(f"{name!r} {reason}: sets to download are {', '.join(images.TORCHVISION)}")
    return images.download(name, root)


class Row(NamedTuple):
    """A line of the catalogue. `laws` is empty for a set that takes none; `available` is on this machine."""

    name: str
    what: str
    size: str
    laws: tuple[str, ...]
    available: bool


def describe(root: str | Path | None = None) -> list[Row]:
    """The catalogue, without reading any set: what there is, how large, which laws, whether it is here."""
    large = "55,000 train, 5,000 validation, 10,000 test"
    table = {
        "digits": ("handwritten digits, 8 x 8", "1,200 train, 300 validation, 297 test"),
        "mnist": ("handwritten digits, 28 x 28", large),
        "fashion-mnist": ("articles of clothing, 28 x 28", large),
        "kmnist": ("cursive Japanese characters, 28 x 28", large),
        "factor_analysis": ("two Gaussian factors, x in R^3", "1,000 train, 1,000 test"),
        "exponential_gaussian": ("z ~ Exponential(1) plus noise", "2,000 train, 500 validation, 1,000 test"),
        "line": ("a noisy line in one covariate", "200 train, 200 test"),
        "squared_gaussian": ("z ~ Normal(0, 1) squared, plus noise", "2,000 train, 500 validation, 1,000 test"),
        "loaded_die": ("throws of a loaded die, one-hot", "200 train, 200 test"),
        "gaussian_mixture": ("three Gaussian clusters, x in R^2", "1,000 train, 1,000 test"),
        "hmm": ("chains of a hidden Markov model, x in R^10", "400 train, 400 test"),
    }
    return [
        Row(name, what, size, () if name in SYNTHETIC else PIXEL_LAWS, _is_here(name, root))
        for name, (what, size) in table.items()
    ]


def _is_here(name: str, root: str | Path | None) -> bool:
    return name not in images.TORCHVISION or images.is_here(name, root)


def _read(base: str, law: str | None, split: str, root: str | Path | None) -> Source:
    if base in SYNTHETIC:
        if law is not None:
            raise DataError(f"{base!r} is synthetic and takes no pixel law, not {law!r}: use {base!r} alone")
        return SYNTHETIC[base]()
    if base in IMAGES:
        if law not in PIXEL_LAWS:
            fault = f"has no pixel law {law!r}{_nearest(law, PIXEL_LAWS)}" if law else "needs a pixel law"
            raise DataError(f"{base!r} {fault}: {', '.join(f'{base}:{known}' for known in PIXEL_LAWS)}")
        return images.digits() if base == "digits" else images.read(base, split, root)
    if not files.is_path(base):
        raise DataError(
            f"unknown data set {base!r}{_nearest(base, SETS)}: use one of {', '.join(SETS)}, or the path of "
            "an .npz or .npy file or of a folder of pictures"
        )
    if law not in (None, *LAWS):
        raise DataError(f"unknown pixel law {law!r}{_nearest(law, LAWS)}: use one of {', '.join(LAWS)}")
    return files.read(base, split, law)


def _parse(name: str) -> tuple[str, str | None]:
    """SET and LAW. A colon inside a path, C:\\x.npy or the name of a file that exists, sets no law apart."""
    base, colon, law = name.rpartition(":")
    if not colon or (law not in LAWS and ("/" in law or os.sep in law or os.path.exists(name))):
        return name, None
    return base, law


def _shown(name: str) -> tuple[str, int | None, int]:
    """SET[:LAW], the number of labels to be shown, None for all of them, and the number of the draw."""
    match = re.fullmatch(r"(.+):(\d+)-labels(?:-(\d+))?", name)
    return (match[1], int(match[2]), int(match[3] or 0)) if match else (name, None, 0)


def _known(base: str, source: Source, few: int, seed: tuple[int, int]) -> Tensor:
    """(n,) bool: `few` rows of the training split, as many of each class; none in a file without that split."""
    if source.labels is None:
        raise DataError(f"{base!r} has no labels, so none of them can be shown: leave out {f':{few}-labels'!r}")
    each, left = divmod(few, source.classes)
    if each < 1 or left:
        raise DataError(f"{few} labels cannot be as many of each of the {source.classes} classes: use a multiple of it")
    known = torch.zeros(len(source.labels), dtype=torch.bool)
    if "train" not in source.splits:
        return known
    train = source.splits["train"]
    stream = np.random.SeedSequence(seed).generate_state(1).item()
    order = torch.randperm(train.stop - train.start, generator=torch.Generator().manual_seed(stream)) + train.start
    for y in range(source.classes):
        chosen = order[source.labels[order] == y][:each]
        if len(chosen) < each:
            raise DataError(f"class {y} of {base!r} has {len(chosen)} training rows, not the {each} to be shown")
        known[chosen] = True
    return known


def _nearest(word: str, words: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, words, n=1)
    return f", did you mean {near[0]!r}?" if near else ""
