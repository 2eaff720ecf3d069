"""The machine: its name, and what is asked of it."""

import ctypes
import platform
from contextlib import suppress
from pathlib import Path


def processor() -> str:
    """The name of the CPU, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def keep_freed_memory() -> None:
    """From now on the C library keeps the memory that a step frees for the next one. By itself glibc gives it back, and
    every page of it is cleared again at its next use: on two cores 12 % of a step of the GMVAE as a graph, and 4 % of
    a compiled one. Nothing happens with other libraries."""
    trim_threshold, mmap_threshold = -1, -3  # of malloc.h
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_threshold, 32 << 20)  # the greatest that it takes
        mallopt(trim_threshold, 2**31 - 1)
