"""What is loaded, what one file of a set holds, and the one error of this package."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import constraints

__all__ = ["SPLITS", "DataError", "Dataset", "Source", "cut"]

SPLITS = ("train", "validation", "test", "all")


class DataError(ValueError):
    """A fault of the input, in one line: what was wrong, what was expected, what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


@dataclass(frozen=True, eq=False)
class Dataset:
    """The n rows of one split, ready for a model.

    name        set and pixel law, "mnist:threshold"
    split       "train", "validation", "test", or "all" (train, then validation)
    x           (n, d) float32, every row flattened
    shape       of a row before it was flattened: (h, w), (3, h, w), or (d,) if it is no picture
    labels      (n,) int64, or None
    classes     number of classes of the set, whichever of them this split holds; None without labels
    covariates  (n, p) float32, or None
    support     where the values that are scored lie: constraints.boolean, unit_interval or real
    levels      number of grey levels of the pixels as stored, under any law; None for floats
    transform   None, or what turns a minibatch of x, at each visit, into the values that are scored
    known       (n,) bool, the rows whose label a model is shown; None where it is shown all
    """

    name: str
    split: str
    x: Tensor
    shape: tuple[int, ...]
    labels: Tensor | None = None
    classes: int | None = None
    covariates: Tensor | None = None
    support: constraints.Constraint = constraints.real
    levels: int | None = None
    transform: Callable[[Tensor], Tensor] | None = None
    known: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def is_image(self) -> bool:
        """Whether a row can be shown as a picture."""
        return len(self.shape) >= 2

    def scored(self) -> Tensor:
        """x as the likelihood scores it: under the law `dynamic` a new draw at each call for training pixels."""
        return self.x if self.transform is None else self.transform(self.x)

    @property
    def given(self) -> Tensor | None:
        """What a conditional model conditions on: the covariates if there are any, else the labels, with -1 for those
        that are hidden from it."""
        if self.covariates is not None or self.known is None:
            return self.labels if self.covariates is None else self.covariates
        return self.labels.where(self.known, -1)

    @cached_property
    def hash(self) -> str:
        """Sha256 (hex) of x, labels and covariates with their shapes, of which labels are shown if not all are, and of
        whether x is transformed.

        Taken over float32 and int64 on the CPU: the same on every run and device, and in float64.
        """
        digest = hashlib.sha256(repr((self.shape, self.transform is not None)).encode())
        for tensor in (self.x, self.labels, self.covariates, *(() if self.known is None else (self.known,))):
            digest.update(repr(None if tensor is None else tuple(tensor.shape)).encode())
            if tensor is not None:
                exact = torch.float32 if tensor.is_floating_point() else torch.int64
                digest.update(tensor.to("cpu", exact).contiguous().numpy())
        return digest.hexdigest()

    def head(self, n: int) -> Dataset:
        """The first n rows, or all if there are fewer."""
        return replace(
            self,
            x=self.x[:n],
            labels=None if self.labels is None else self.labels[:n],
            covariates=None if self.covariates is None else self.covariates[:n],
            known=None if self.known is None else self.known[:n],
        )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Dataset:
        """The same rows on another device; x and covariates, not labels, in another floating-point type."""
        return replace(
            self,
            x=self.x.to(device, dtype),
            labels=None if self.labels is None else self.labels.to(device),
            covariates=None if self.covariates is None else self.covariates.to(device, dtype),
            known=None if self.known is None else self.known.to(device),
        )


@dataclass(frozen=True, eq=False)
class Source:
    """What one file of a set holds before any pixel law, in an order where every split is a run of rows.

    x (n, *shape) is uint8 in 0 .. levels - 1, or float32 where levels is None. A test file that is apart from
    the training file has another `stream`: its pixels get noise of their own.
    """

    x: Tensor
    levels: int | None = None
    labels: Tensor | None = None
    classes: int | None = None
    covariates: Tensor | None = None
    splits: dict[str, slice] = field(default_factory=dict)
    stream: int = 0


def cut(train: int = 0, validation: int = 0, test: int = 0) -> dict[str, slice]:
    """Splits of a file that holds so many rows of each, in this order; a split without rows is left out."""
    seen = train + validation
    bounds = ((0, train), (train, seen), (seen, seen + test), (0, seen))
    return {split: slice(*ends) for split, ends in zip(SPLITS, bounds, strict=True) if ends[0] < ends[1]}
