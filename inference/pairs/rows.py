"""Detect whether a pair uses the row indices of the plate."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["RowUse"]

# They read the shape of the indices, not their values.
_OF_SHAPE = {
    Tensor.__len__,
    Tensor.dim,
    Tensor.numel,
    Tensor.size,
    *(getattr(Tensor, name).__get__ for name in ("shape", "ndim", "device", "dtype")),
}


class RowUse(TorchFunctionMode):
    """Records whether a torch function is called with the values of a tensor of row indices.

    :param rows: the very tensor that `SetRows` gives to the plate

    >>> import torch
    >>> loc, rows = torch.zeros(3), torch.arange(2)
    >>> with RowUse(rows) as use:
    ...     _ = torch.zeros(len(rows))
    >>> use.used
    False
    >>> with RowUse(rows) as use:
    ...     _ = loc[rows]
    >>> use.used
    True
    """

    def __init__(self, rows: Tensor):
        super().__init__()
        self.rows, self.used = rows, False

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.used |= function not in _OF_SHAPE and _holds((args, kwargs), self.rows)
        return function(*args, **kwargs)


def _holds(value: Any, rows: Tensor) -> bool:
    """Return whether the tensor `rows` itself is the value, or in it."""
    if isinstance(value, dict):
        value = list(value.values())
    return value is rows or (isinstance(value, tuple | list) and any(_holds(entry, rows) for entry in value))
