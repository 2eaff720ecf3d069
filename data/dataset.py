"""`Dataset`, one split for a model; `Source`, the rows of a file before the pixel transform; and `DataError`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import constraints

__all__ = ["SPLITS", "DataError", "Dataset", "Source", "blocks", "split_slices"]

SPLITS = ("train", "validation", "test", "all")
BLOCK = 2**18  # numbers that are checked or converted together: what bounds the memory beside the data


def blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield consecutive slices of the rows of an array (n, ...) of at most BLOCK numbers, or one row, each."""
    width = 1
    for size in shape[1:]:
        width *= size
    rows = max(1, BLOCK // max(1, width))
    for start in range(0, shape[0], rows):
        yield slice(start, min(start + rows, shape[0]))


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
    >>> test
    digits:grey, test: 297 rows of shape (8, 8), float32 in [0, 1], 10 classes
    >>> test.x.shape, test.labels.shape
    (torch.Size([297, 64]), torch.Size([297]))

    :param name: data set and pixel transform, such as "mnist:threshold"
    :param split: "train", "validation", "test", or "all" (train, then validation)
    :param x: (n, d) float32, or the type it was loaded with, every row flattened; NaN where a value is missing
    :param shape: of a row before it was flattened: (h, w), (3, h, w), or (d,) if it is no image
    :param labels: (n,) int64 in 0 .. classes - 1, and -1 where the file has no label for the row; or None
    :param classes: number of classes of the whole set, which this split need not all contain; None without labels
    :param covariates: (n, p) of the type of x, or None
    :param support: support of the values that are scored: constraints.boolean, unit_interval or real
    :param levels: number of grey levels of the stored pixels, whatever the pixel transform; None for floats
    :param transform: None, or what maps each minibatch of x to the values that are scored
    :param known: (n,) bool, true for the rows whose label is shown to a model; None if all are
    :param first_row: index of the first row among the data that a pair was fitted to; None: it was not fitted to these
    :param label_values: the label of each class in the user's file, or the name of its folder; None for other sets
    :param notes: sentences on what was done to the values of the user's file when it was read
    :param column_names: what each column of x counts or measures, such as the words of a vocabulary; None if unnamed
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
    label_values: tuple[int | str, ...] | None = None
    notes: tuple[str, ...] = ()
    column_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        names = {constraints.boolean: "{0, 1}", constraints.unit_interval: "[0, 1]", constraints.real: "the reals"}
        support = names.get(self.support, str(self.support))
        kind = str(self.x.dtype).removeprefix("torch.")
        parts = [f"{_counted(len(self), 'row')} of shape {self.shape}", f"{kind} in {support}"]
        if self.labels is not None:
            parts.append(f"{self.classes} classes")
        if self.known is not None:
            parts.append(f"{_counted(int(self.known.sum()), 'label')} shown to the model")
        if self.covariates is not None:
            parts.append(_counted(self.covariates.shape[1], "covariate"))
        if self.missing:
            parts.append(f"{self.missing:,} of {self.x.numel():,} entries missing (NaN)")
        return f"{self.name}, {self.split}: {', '.join(parts)}"

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
    def missing(self) -> int:
        """The number of entries of x that are missing: NaN. Pixels with levels are integers, and never are."""
        return 0 if self.levels else int(self.x.isnan().sum())

    @cached_property
    def hash(self) -> str:
        """Sha256, in hexadecimal, of x, labels and covariates with their shapes, of which labels are shown if not all
        are, and of whether x has a transform.

        It is taken over int64, and over float32 where that holds every value, else over float64: the same in every
        process and on every device, and in float64 for data that are stored in float32.
        """
        digest = hashlib.sha256(repr((self.shape, self.transform is not None)).encode())
        for tensor in (self.x, self.labels, self.covariates, *(() if self.known is None else (self.known,))):
            digest.update(repr(None if tensor is None else tuple(tensor.shape)).encode())
            if tensor is not None:
                exact = _exact_type(tensor)
                for rows in blocks(tensor.shape):
                    digest.update(tensor[rows].to("cpu", exact).contiguous().numpy())
        return digest.hexdigest()

    def labelled(self) -> Dataset | None:
        """Return the rows whose label the file holds, all of them as a rule; None if it holds none."""
        if self.labels is None:
            return None
        rows = self.labels >= 0
        if rows.all():
            return self
        if not rows.any():
            return None
        return replace(
            self,
            x=self.x[rows],
            labels=self.labels[rows],
            covariates=None if self.covariates is None else self.covariates[rows],
            known=None if self.known is None else self.known[rows],
            first_row=None,
        )

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


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _exact_type(tensor: Tensor) -> torch.dtype:
    """Return the type that a tensor is hashed in: int64, float32 where it holds every value, or float64."""
    if not tensor.is_floating_point():
        return torch.int64
    if tensor.dtype == torch.float64:
        for rows in blocks(tensor.shape):
            block = tensor[rows].nan_to_num()
            if not torch.equal(block.float().double(), block):
                return torch.float64
    return torch.float32


@dataclass(frozen=True, eq=False)
class Source:
    """The rows of one file of a set before the pixel transform, in an order where every split is a slice.

    :param x: (n, *shape), uint8 in 0 .. levels - 1, or floats if levels is None
    :param levels: number of grey levels, or None
    :param labels: (n,) int64, -1 where unknown, or None
    :param classes: number of classes, or None without labels
    :param covariates: (n, p) floats, or None
    :param splits: the rows of each split that the file holds
    :param stream: number of the noise stream; a test file separate from the training file has another stream, so
        that the noise of its pixels is independent
    :param label_values: see `Dataset`
    :param notes: see `Dataset`
    :param column_names: see `Dataset`
    """

    x: Tensor
    levels: int | None = None
    labels: Tensor | None = None
    classes: int | None = None
    covariates: Tensor | None = None
    splits: dict[str, slice] = field(default_factory=dict)
    stream: int = 0
    label_values: tuple[int | str, ...] | None = None
    notes: tuple[str, ...] = ()
    column_names: tuple[str, ...] | None = None


def split_slices(train: int = 0, validation: int = 0, test: int = 0) -> dict[str, slice]:
    """Return the slice of each split in a file that holds these numbers of rows, in this order.

    A split without rows is left out.
    """
    fitted = train + validation
    bounds = ((0, train), (train, fitted), (fitted, fitted + test), (0, fitted))
    return {split: slice(*ends) for split, ends in zip(SPLITS, bounds, strict=True) if ends[0] < ends[1]}
