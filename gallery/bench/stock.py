"""Steps of `pyro.infer.SVI` with `pyro.optim.Adam`: data in memory, or from torch's DataLoader."""

from collections.abc import Callable, Iterator

import pyro.infer
import pyro.optim
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from inference import Pair, Settings, objective, param_scope
from inference.pairs.info import inspect_pair
from inference.pairs.run import arguments

__all__ = ["Stepper", "minibatches", "minibatches_of_loader", "stepper"]

Stepper = Callable[[int], list]
"""Takes at least the given number of steps; returns the loss of each of them, in nats per data point."""


def minibatches(size: int, *data: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield minibatches of `size` rows without end, in a new order in each pass; the incomplete last one is dropped."""
    n, device = len(data[0]), data[0].device
    if size >= n:
        while True:
            yield data
    while True:
        order = torch.randperm(n, device=device)
        for start in range(0, n - size + 1, size):
            rows = order[start : start + size]
            yield tuple(part[rows] for part in data)


def minibatches_of_loader(size: int, *data: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield the same minibatches from a DataLoader, moved to the device of the data."""
    device, rows = data[0].device, TensorDataset(*(part.cpu() for part in data))
    loader = DataLoader(rows, min(size, len(rows)), shuffle=size < len(rows), drop_last=True)
    while True:
        for batch in loader:
            yield tuple(part.to(device) for part in batch)


def stepper(
    pair: Pair,
    x: Tensor,
    given: Tensor | None,
    settings: Settings,
    batches: Callable[..., Iterator[tuple[Tensor, ...]]] = minibatches,
) -> Stepper:
    """Return the steps of stock Pyro.

    Pyro gets the minibatch alone, as in its tutorials: with the total size of the data, its plate would draw a
    permutation of them at every step. Where a latent is global, the total size is needed.

    :param batches: makes the minibatches
    """
    data = arguments(pair, x, given)
    joint = inspect_pair(pair, data).has_global_latent
    total = len(x) if joint else None
    loss = objective(settings.objective, settings.particles, joint and settings.particles > 1)
    adam = pyro.optim.Adam(  # type: ignore[attr-defined]  # Pyro makes it at import
        {"lr": settings.lr, "betas": (0.9, settings.adam_beta2)}
    )
    svi = pyro.infer.SVI(pair.model, pair.guide, adam, loss)
    source = batches(settings.batch_size, *data)
    count = total or min(settings.batch_size, len(x))

    def take_steps(steps: int) -> list[float]:
        with param_scope():
            return [svi.step(*next(source), total=total) / count for _ in range(steps)]

    return take_steps
