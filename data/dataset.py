"""`Dataset`, one split for a model; `Source`, the rows of a file before the pixel transform; and `DataError`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import constraints

__all__ = ["SPLITS", "DataError", "Dataset", "Source", "split_slices"]

SPLITS = ("train", "validation", "test", "all")


class DataError(ValueError):
    """An invalid data set name or file. The message is one line: the fault, the expected input, the remedy.

    >>> import data
    >>> try:
    ...     data.load("line", "valid")
    ... except data.DataError as error:
    ...     print(error)
    unknown split 'valid'. Did you mean 'validation'? Use train, validation, test or all.

    :param message: what is wrong, expected and got, and what to do; line breaks in it become spaces
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set: n rows, each a data point.

    >>> import data
    >>> test = data.load("digits:grey", "test")
    >>> len(test), test.x.shape, test.shape, test.labels.shape, test.classes
    (297, torch.Size([297, 64]), (8, 8), torch.Size([297]), 10)

    :param name: data set and pixel transform, such as "mnist:threshold"
    :param split: "train", "validation", "test", or "all" (train, then validation)
    :param x: (n, d) float32, every row flattened
    :param shape: of a row before it was flattened: (h, w), (3, h, w), or (d,) if it is no image
    :param labels: (n,) int64, or None
    :param classes: number of classes of the whole set, which this split need not all contain; None without labels
    :param covariates: (n, p) float32, or None
    :param support: support of the values that are scored: constraints.boolean, unit_interval or real
    :param levels: number of grey levels of the stored pixels, whatever the pixel transform; None for floats
    :param transform: None, or what maps each minibatch of x to the values that are scored
    :param known: (n,) bool, true for the rows whose label is shown to a model; None if all are
    :param first_row: index of the first row among the data that a pair was fitted to; None: it was not fitted to these
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
    first_row: int | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def is_image(self) -> bool:
        """Whether a row can be shown as an image."""
        return len(self.shape) >= 2

    def scored(self) -> Tensor:
        """Return x (n, d) as the likelihood scores it.

        With the pixel transform `dynamic`, training pixels are binarised by a new draw at each call.
        """
        return self.x if self.transform is None else self.transform(self.x)

    @property
    def given(self) -> Tensor | None:
        """What a conditional model conditions on: covariates (n, p), else labels (n,), else None.

        A label that is not shown to the model is -1.
        """
        if self.covariates is not None:
            return self.covariates
        if self.labels is None or self.known is None:
            return self.labels
        return self.labels.where(self.known, -1)

    @cached_property
    def hash(self) -> str:
        """Sha256, in hexadecimal, of x, labels and covariates with their shapes, of which labels are shown if not all
        are, and of whether x has a transform.

        It is taken over float32 and int64 on the CPU: the same in every process, on every device, and in float64.
        """
        digest = hashlib.sha256(repr((self.shape, self.transform is not None)).encode())
        for tensor in (self.x, self.labels, self.covariates, *(() if self.known is None else (self.known,))):
            digest.update(repr(None if tensor is None else tuple(tensor.shape)).encode())
            if tensor is not None:
                exact = torch.float32 if tensor.is_floating_point() else torch.int64
                digest.update(tensor.to("cpu", exact).contiguous().numpy())
        return digest.hexdigest()

    def head(self, n: int) -> Dataset:
        """Return the first n rows, or all if there are fewer."""
        return replace(
            self,
            x=self.x[:n],
            labels=None if self.labels is None else self.labels[:n],
            covariates=None if self.covariates is None else self.covariates[:n],
            known=None if self.known is None else self.known[:n],
        )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Dataset:
        """Return the same rows on another device or in another floating-point type.

        :param device: for all tensors; None leaves them where they are
        :param dtype: for x and covariates; labels keep their type
        """
        return replace(
            self,
            x=self.x.to(device, dtype),
            labels=None if self.labels is None else self.labels.to(device),
            covariates=None if self.covariates is None else self.covariates.to(device, dtype),
            known=None if self.known is None else self.known.to(device),
        )


@dataclass(frozen=True, eq=False)
class Source:
    """The rows of one file of a set before the pixel transform, in an order where every split is a slice.

    :param x: (n, *shape), uint8 in 0 .. levels - 1, or float32 if levels is None
    :param levels: number of grey levels, or None
    :param labels: (n,) int64, or None
    :param classes: number of classes, or None without labels
    :param covariates: (n, p) float32, or None
    :param splits: the rows of each split that the file holds
    :param stream: number of the noise stream; a test file separate from the training file has another stream, so
        that the noise of its pixels is independent
    """

    x: Tensor
    levels: int | None = None
    labels: Tensor | None = None
    classes: int | None = None
    covariates: Tensor | None = None
    splits: dict[str, slice] = field(default_factory=dict)
    stream: int = 0


def split_slices(train: int = 0, validation: int = 0, test: int = 0) -> dict[str, slice]:
    """Return the slice of each split in a file that holds these numbers of rows, in this order.

    A split without rows is left out.
    """
    fitted = train + validation
    bounds = ((0, train), (train, fitted), (fitted, fitted + test), (0, fitted))
    return {split: slice(*ends) for split, ends in zip(SPLITS, bounds, strict=True) if ends[0] < ends[1]}
