"""Find numbers of Python or numpy that change from step to step: a graph would keep their first values.

A step is run on the same arguments, with the same noise and the same buffers. The operations of two runs, with all
that is no result of an earlier one (Python numbers, new tensors), are then the same, unless the pair counts its calls,
keeps a schedule in a number, or draws noise from random or numpy. This costs two steps, and tracing twice seconds.
"""

import linecache
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = ["changing_place"]

Entry = tuple[Any, ...]  # an operation, and what enters it from outside of the step
LARGE = 4096  # numbers of a tensor that are compared one by one; of a larger one their sum
_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep


class _Record(TorchDispatchMode):
    """Records the operations within, what enters them from outside, and the user's lines.

    :param known: tensors that the step may read
    """

    def __init__(self, known: Iterable[Tensor]):
        super().__init__()
        self.entries: list[Entry] = []
        self.places: list[tuple[str, int] | None] = []
        self.known = WeakTensorKeyDictionary()
        for tensor in known:
            self.known[tensor] = True

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        outside = tuple(map(self._outside, tree_leaves((args, kwargs or {}))))
        result = function(*args, **(kwargs or {}))
        self.entries.append((function, *outside))
        self.places.append(_place())
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self.known[value] = True
        return result

    def _outside(self, value: Any) -> Any:
        """Return what to compare of an argument of an operation."""
        if not isinstance(value, Tensor):
            return repr(value) if isinstance(value, float | complex) else value  # NaN is not equal to itself
        if value in self.known or value.device.type == "meta":
            return None
        self.known[value] = True
        value = value.to_dense() if value.layout != torch.strided else value
        content = value.detach() if value.numel() <= LARGE else value.detach().double().sum()
        return repr(content.tolist())


def changing_place(run: Callable[..., Any], args: tuple[Tensor, ...], known: Iterable[Tensor]) -> str | None:
    """Return "file:line: text" of the first operation that another call of `run` does with another constant, "?" if it
    is in no line of the user's; None if there is none. Random generators are left as they were.

    :param known: tensors that the step reads, and that a graph would read too, such as parameters and buffers
    """
    known = [*args, *known]
    devices = [a.device for a in args if a.is_cuda]

    def record() -> _Record:
        with torch.random.fork_rng(devices), _Record(known) as recorded:
            run(*args)
        return recorded

    before, after = record(), record()
    if before.entries != after.entries:  # the first call may also have filled a cache
        before, after = after, record()
    if before.entries == after.entries:
        return None
    pairs = zip(before.entries, after.entries, strict=False)
    shorter = min(len(before.entries), len(after.entries)) - 1
    first = next((i for i, (one, two) in enumerate(pairs) if one != two), shorter)
    place = next((of for of in after.places[first::-1] if of), None)
    return f"{place[0]}:{place[1]}: {linecache.getline(*place).strip()}" if place else "?"


def _place() -> tuple[str, int] | None:
    """Return file and line of the innermost frame outside of libraries and this package; None if there is none."""
    frame = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        if not ("site-packages" in path or path.startswith((_OURS, "<"))) and f"{os.sep}lib{os.sep}python" not in path:
            return path, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return None
