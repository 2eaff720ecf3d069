"""Random streams: the noise of each purpose has its seed, from the user's seed and the purpose.

Two functions called with the same seed draw unrelated numbers, and unrelated to those after `torch.manual_seed(seed)`:
data that are drawn with seed 0 and a guide that is evaluated with seed 0 do not share their noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from inference.errors import InferenceError

__all__ = ["seed_torch", "seeded", "stream"]


def stream(seed: int, *purpose: str | int) -> int:
    """Return the seed of the random stream of a purpose, a 64-bit integer that is the same on every machine.

    >>> from inference.pairs.streams import stream
    >>> stream(0, "sample") == stream(0, "sample"), stream(0, "sample") == stream(0, "encode")
    (True, False)

    :param seed: an integer from 0
    :param purpose: names and numbers, such as "noise" and the number of a process
    :raises InferenceError: if the seed is negative
    """
    if seed < 0:
        raise InferenceError(f"seed {seed} is negative.", "Use an integer from 0.")
    name = int.from_bytes(repr(purpose).encode())  # one number, since a SeedSequence ignores zeros at the end
    return int(np.random.SeedSequence([seed, name]).generate_state(1, np.uint64)[0])


@contextmanager
def seeded(seed: int, *purpose: str | int, devices: Sequence[int | torch.device] = ()) -> Iterator[None]:
    """Run a block on the stream of a purpose; torch's generators are restored on exit.

    >>> import torch
    >>> from inference.pairs.streams import seeded
    >>> before = torch.get_rng_state()
    >>> with seeded(0, "weights"):
    ...     weights = torch.randn(3)
    >>> bool((before == torch.get_rng_state()).all())
    True

    :param devices: the CUDA devices whose generators are used
    """
    with torch.random.fork_rng(list(devices)):
        seed_torch(stream(seed, *purpose))
        yield


def seed_torch(seed: int) -> None:
    """Seed torch's generators of the CPU, and of CUDA devices in use.

    `torch.manual_seed` keeps a record of the stack for each kind of accelerator that is not in use: a hundred
    times as slow, and more the deeper the stack.

    >>> import torch
    >>> from inference.pairs.streams import seed_torch
    >>> seed_torch(3)
    >>> draw, _ = torch.randn(2), torch.manual_seed(3)
    >>> bool((draw == torch.randn(2)).all())
    True
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
