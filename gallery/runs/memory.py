"""Sizes that no memory holds: checked before they are allocated, and an allocation that fails as one line."""

import re
from pathlib import Path
from typing import Any

import torch

from gallery.errors import RunError
from inference import Settings

__all__ = ["available", "check_bytes", "check_size", "describe_allocation"]

CPU = torch.device("cpu")
CHECKED_FROM = 10_000  # the least size of a keyword from which the number of weights is checked
COPIES = 4  # weights, their gradient, and two averages of Adam
_FAILED = re.compile(
    r"can't allocate|out of memory|overflow|not enough memory|too large|invalid buffer size|unable to allocate"
    r"|bad_alloc|array is too big|maximum allowed dimension|exceeds the limit",
    re.IGNORECASE,
)
_BYTES = re.compile(r"allocate (\d+) bytes|allocate ([\d.]+) (GiB|MiB|TiB|PiB|EiB)")


def available(device: torch.device) -> int | None:
    """Return the bytes of memory that can be allocated on a device; None if the system does not state it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable")), None)


def describe_allocation(error: BaseException) -> str | None:
    """Return what could not be allocated, in words; None if the error has another cause.

    >>> describe_allocation(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4e9 bytes"))
    'the memory does not hold it'
    >>> describe_allocation(RuntimeError("you tried to allocate 8589934592 bytes: out of memory"))
    'the memory does not hold it: 8.0 GiB'
    >>> describe_allocation(ValueError("no such"))
    """
    text = str(error)
    if not isinstance(error, MemoryError | OverflowError | RuntimeError | ValueError | TypeError):
        return None
    if not isinstance(error, MemoryError | OverflowError) and not _FAILED.search(text):
        return None
    if (size := _BYTES.search(text)) is None:
        return "the memory does not hold it"
    number = f"{int(size[1]) / 2**30:.1f} GiB" if size[1] else f"{size[2]} {size[3]}"
    return f"the memory does not hold it: {number}"


def check_bytes(what: str, needed: int, setting: str, device: torch.device = CPU) -> None:
    """Check that a number of bytes is free on a device.

    :param what: needs them, in words, for the message
    :raises RunError: if they are not
    """
    free = available(device)
    if free is not None and needed > free:
        raise RunError(
            f"{what} would take {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free.",
            f"Use a smaller {setting}.",
        )


def check_size(model: str, cls: type, keywords: dict[str, Any], settings: Settings) -> None:
    """Check that the weights of a model fit into the memory, before they are allocated.

    The model is built on torch's meta device, which allocates nothing, if a keyword is CHECKED_FROM or more.

    :raises RunError: if they do not; it names the largest keyword
    """
    sizes = {name: _largest(value) for name, value in keywords.items() if _largest(value) >= CHECKED_FROM}
    if not sizes:
        return
    largest = max(sizes, key=lambda name: sizes[name])
    about = f"{model} with {largest} {sizes[largest]}"
    remedy = f"Use a smaller {largest}."
    try:
        with torch.random.fork_rng(), torch.device("meta"):
            number = sum(parameter.numel() for parameter in cls(**keywords).parameters())
    except Exception as error:
        if describe_allocation(error) is not None or sizes[largest] > 2**48:
            raise RunError(f"{about} has more weights than any memory holds.", remedy) from error
        return  # its constructor needs values
    needed = number * settings.dtype.itemsize * COPIES
    check_bytes(f"{about} has {number:.3g} weights, and a fit", needed, largest, settings.torch_device())


def _largest(value: Any) -> int:
    """Return the largest integer of a keyword; 0 without one."""
    values = value if isinstance(value, list | tuple) else [value]
    return max((one for one in values if isinstance(one, int) and not isinstance(one, bool)), default=0)
