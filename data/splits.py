"""One split of the rows of a file: pixel transform and its noise, labels that are shown, the check that x varies."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from data.dataset import DataError, Dataset, Source, blocks
from data.labels import label_generator
from data.pixels import BELOW_ONE, TRANSFORMS, PixelTransform

__all__ = ["check_varies", "draw_known", "split_of"]

UNCHANGED = (TRANSFORMS["real"].apply, TRANSFORMS["grey"].apply)  # of floats


def split_of(
    name: str, split: str, source: Source, transform: str, known: Tensor | None, seed: int, dtype: torch.dtype
) -> Dataset:
    """Return one split of the rows of a file."""
    rows, used = source.splits[split], TRANSFORMS[transform]
    per_minibatch = used.per_minibatch if split in ("train", "all") else None
    return Dataset(
        name=name,
        split=split,
        x=_apply(TRANSFORMS["grey"] if per_minibatch else used, source, rows, seed, dtype),
        shape=tuple(source.x.shape[1:]),
        labels=None if source.labels is None else source.labels[rows],
        classes=source.classes,
        covariates=None if source.covariates is None else source.covariates[rows].to(dtype),
        support=used.support,
        levels=source.levels,
        transform=per_minibatch,
        known=None if known is None else known[rows],
        label_values=source.label_values,
        notes=source.notes,
        column_names=source.column_names,
    )


def _apply(transform: PixelTransform, source: Source, rows: slice, seed: int, dtype: torch.dtype) -> Tensor:
    """Return x (n, d) of consecutive rows, a view of the source where values stay as they are."""
    pixels = source.x.flatten(1)
    if source.levels is None and pixels.dtype == dtype and transform.apply in UNCHANGED:
        return pixels[rows]
    stream = np.random.SeedSequence((seed, source.stream)).generate_state(1).item()
    generator, drawn = torch.Generator("cpu").manual_seed(stream), 0

    def noise(n: int) -> Tensor:
        return torch.rand((n, pixels.shape[1]), generator=generator, dtype=torch.float32, device="cpu")

    def noise_of(part: slice) -> Tensor:
        """Draw the noise of these rows, after that of all rows before them."""
        nonlocal drawn
        for skipped in blocks((part.start - drawn, *pixels.shape[1:])):
            noise(skipped.stop - skipped.start)
        drawn = part.stop
        return noise(part.stop - part.start)

    out = torch.empty((rows.stop - rows.start, pixels.shape[1]), dtype=dtype)
    for part in blocks(tuple(out.shape)):
        read = slice(rows.start + part.start, rows.start + part.stop)
        out[part] = transform.apply(pixels[read], source.levels, partial(noise_of, read), dtype)
    return out


def check_varies(base: str, source: Source, transform: str) -> None:
    """:raises DataError: if x is one number in all rows, whatever the noise of the pixel transform"""
    low, high = source.x.aminmax()
    if low.isnan():
        low, high = source.x[~source.x.isnan()].aminmax()
    dtype = low.dtype if low.is_floating_point() else torch.float32
    noise = torch.tensor([0.0, BELOW_ONE, 0.0, BELOW_ONE])
    x = TRANSFORMS[transform].apply(torch.stack([low, low, high, high]), source.levels, lambda: noise, dtype)
    if (x == x[0]).all():
        stored = f"stored values {low:g}..{high:g}" + (f" of {source.levels} levels" if source.levels else "")
        notes = "".join(f"; {note}" for note in source.notes)
        raise DataError(
            f"{base}: x is {x[0]:g} everywhere with {transform!r} ({stored}{notes}). Use data that vary, or another "
            "pixel transform."
        )


def draw_known(base: str, source: Source, n_labels: int, seed: tuple[int, int]) -> Tensor:
    """Draw which labels are shown: (n,) bool, the same number of training rows of each class, and no other row.

    None is shown if `n_labels` is 0, or in a file without the training split.
    """
    if source.labels is None or source.classes is None:
        raise DataError(f"{base!r} has no labels to show. Leave out {f':{n_labels}-labels'!r}.")
    each, remainder = divmod(n_labels, source.classes)
    if remainder:
        raise DataError(
            f"{n_labels} labels cannot be as many of each of {source.classes} classes. Use a multiple of "
            f"{source.classes}."
        )
    known = torch.zeros(len(source.labels), dtype=torch.bool)
    if "train" not in source.splits:
        return known
    train = source.splits["train"]
    order = torch.randperm(train.stop - train.start, generator=label_generator(*seed)) + train.start
    for y in range(source.classes):
        chosen = order[source.labels[order] == y][:each]
        if len(chosen) < each:
            raise DataError(
                f"class {y} of {base!r} has {len(chosen)} training rows, but {each} labels of it should be shown. "
                "Use a smaller number of labels."
            )
        known[chosen] = True
    return known
