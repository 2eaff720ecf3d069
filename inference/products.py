"""Who computes float32 matrix products on a CPU: the library that torch takes by itself, or oneDNN.

On AMD processors torch sends them to MKL, which uses half of what the cores can do. The public switch
`torch.backends.mkldnn.matmul.fp32_precision = "bf16"` sends them to oneDNN. It allows products in bfloat16, which
oneDNN computes on processors with AMX alone; on others it stays in float32. So a test product decides, once in a
process: the switch is used where the error is that of float32 and the product is faster. On processors without AVX-512
it changes nothing, and is left alone.

The fits and evaluations of this package set the switch while they run and put it back after. Other types of numbers and
other devices are not affected. While it is set, `torch.get_float32_matmul_precision()` raises.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from inference.errors import InferenceError

__all__ = ["Products", "choose_products", "decide", "has_bfloat16", "is_exact", "using_products"]

Products = Literal["default", "onednn"]

ROWS, INNER, COLUMNS = 128, 784, 400  # of the test product: the first layer of a VAE
CHECKED = 16  # of its rows
TOLERANCE = 1e-5  # of its largest error over its largest value: 1e-6 in float32, 4e-3 in bfloat16
FASTER = 0.9  # of the time without the switch, below which the switch is worth its change of the last bits
REPEATS, SECONDS = 7, 0.02  # of each of the two, in turn, and for all; the shortest counts, which is disturbed least

_base: ContextVar[str | None] = ContextVar("base", default=None)  # the user's value of the switch, within a block
_chosen: ContextVar[Products | None] = ContextVar("chosen", default=None)


def _switch() -> str | None:
    """Return the value of torch's switch; None where this version of torch has none."""
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    return getattr(matmul, "fp32_precision", None) if torch.backends.mkldnn.is_available() else None


def _set_switch(value: str) -> None:
    torch.backends.mkldnn.matmul.fp32_precision = value  # type: ignore[attr-defined]  # torch makes it at import


@contextmanager
def using_products(products: Products | None = None) -> Iterator[None]:
    """Run a block with the float32 products of the CPU computed by that library, and put torch's switch back after.

    >>> import torch
    >>> before = torch.backends.mkldnn.matmul.fp32_precision
    >>> with using_products("default"):  # or "onednn", or None where the test product decides
    ...     product = torch.ones(2, 3) @ torch.ones(3, 2)
    >>> torch.backends.mkldnn.matmul.fp32_precision == before
    True

    :param products: "onednn", or "default", which leaves the switch as the user set it; None for that of the block
        around this one, and `decide()` where there is none
    """
    chosen = _chosen.get()
    products = products or chosen or decide()
    before = _switch() if products != chosen else None
    if before is None:  # nothing to do, or no switch
        yield
        return
    base = _base.get() or before
    value = "bf16" if products == "onednn" else base
    tokens = _base.set(base), _chosen.set(products)
    if value != before:
        _set_switch(value)
    try:
        yield
    finally:
        if value != before:
            _set_switch(before)
        _base.reset(tokens[0])
        _chosen.reset(tokens[1])


def choose_products(setting: str, device: torch.device, dtype: torch.dtype) -> Products:
    """Return who computes the products of a fit: by the setting, where data of that type are on a CPU.

    :param setting: "default", "onednn", or "auto": that of the block of `using_products` around, else `decide()`
    :raises InferenceError: if this version of torch has no switch, and "onednn" is set
    """
    if device.type != "cpu" or dtype != torch.float32 or setting == "default":
        return "default"
    if setting == "auto":
        return _chosen.get() or decide()
    if _switch() is None:
        raise InferenceError(f"torch {torch.__version__} cannot send products to oneDNN here.", ("products", "default"))
    return "onednn"


@cache
def decide() -> Products:
    """Return "onednn" where its test product is as exact as float32 and faster, else "default"; once in a process."""
    if _switch() is None or not is_exact():
        return "default"
    a, b = _operands()
    if torch.equal(_multiply(a, b, False)[0], _multiply(a, b, True)[0]):  # by the same library
        return "default"
    default = onednn = math.inf
    end = time.perf_counter() + SECONDS
    for repeat in range(REPEATS):
        default, onednn = min(default, _multiply(a, b, False)[1]), min(onednn, _multiply(a, b, True)[1])
        if repeat and time.perf_counter() > end:
            break
    return "onednn" if onednn < FASTER * default else "default"


@cache
def is_exact() -> bool:
    """Return whether the test product by oneDNN has the error of float32, not that of bfloat16."""
    if _switch() is None:
        return False
    a, b = _operands()
    exact = a[:CHECKED].double() @ b.double()
    error = (_multiply(a, b, True)[0][:CHECKED] - exact).abs().max() / exact.abs().max()
    return bool(error < TOLERANCE)


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device computes products in bfloat16: a CPU that imitates them takes many times as long."""
    return device.type != "cpu" or _cpu_has_bfloat16()


@cache
def _cpu_has_bfloat16() -> bool:
    """Return whether a test product takes less time in bfloat16 than in float32; once in a process."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (operand.to(dtype) for operand in _operands())
        seconds[dtype] = min(_seconds(a, b) for _ in range(3))
    return seconds[torch.bfloat16] < seconds[torch.float32]


def _seconds(a: Tensor, b: Tensor) -> float:
    start = time.perf_counter()
    torch.mm(a, b)
    return time.perf_counter() - start


def _operands() -> tuple[Tensor, Tensor]:
    """Return the operands, of numbers in (-1/2, 1/2) from a generator beside torch's."""
    noise = torch.Generator().manual_seed(0)
    a, b = torch.rand(ROWS, INNER, generator=noise), torch.rand(INNER, COLUMNS, generator=noise)
    return a - 0.5, b - 0.5


def _multiply(a: Tensor, b: Tensor, on: bool) -> tuple[Tensor, float]:
    """Return the product with the switch on, or as the user set it, and the seconds that it took."""
    before = _switch()
    assert before is not None
    try:
        if on:
            _set_switch("bf16")
        start = time.perf_counter()
        product = torch.mm(a, b)
        return product, time.perf_counter() - start
    finally:
        _set_switch(before)
