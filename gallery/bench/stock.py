"""`pyro.infer.SVI` with `pyro.optim.Adam`, as Pyro's users have it: data in memory, or from torch's DataLoader."""

from collections.abc import Callable, Iterator

import pyro.infer
import pyro.optim
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from inference import Settings, objective, param_scope
from inference.pairs.info import inspect_pair
from inference.pairs.run import arguments

Turn = Callable[[int], list]
"""Takes at least so many steps; the loss of each of them, in nats per data point."""


def minibatches(size: int, *data: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Minibatches of `size` rows without end, the rows in a new order in each pass; too few at its end are left out."""
    n, device = len(data[0]), data[0].device
    if size >= n:
        while True:
            yield data
    while True:
        order = torch.randperm(n, device=device)
        for start in range(0, n - size + 1, size):
            rows = order[start : start + size]
            yield tuple(part[rows] for part in data)


def loaded(size: int, *data: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same from a DataLoader, and moved to the device of the data."""
    device, rows = data[0].device, TensorDataset(*(part.cpu() for part in data))
    loader = DataLoader(rows, min(size, len(rows)), shuffle=size < len(rows), drop_last=True)
    while True:
        for batch in loader:
            yield tuple(part.to(device) for part in batch)


def fitted(
    pair: nn.Module,
    x: Tensor,
    given: Tensor | None,
    settings: Settings,
    batches: Callable[..., Iterator[tuple[Tensor, ...]]] = minibatches,
) -> Turn:
    """Steps of stock Pyro.

    Pyro is told of the minibatch alone, as its tutorials do: told of all the data it would draw an order of them at
    every step. Where a latent is global it has to be told.
    """
    data = arguments(pair, x, given)
    joint = inspect_pair(pair, data).has_global_latent
    total = len(x) if joint else None
    loss = objective(settings.objective, settings.particles, joint and settings.particles > 1)
    adam = pyro.optim.Adam({"lr": settings.lr, "betas": (0.9, settings.adam_beta2)})
    svi = pyro.infer.SVI(pair.model, pair.guide, adam, loss)
    source = batches(settings.batch_size, *data)
    count = total or min(settings.batch_size, len(x))

    def turn(steps: int) -> list[float]:
        with param_scope():
            return [svi.step(*next(source), total=total) / count for _ in range(steps)]

    return turn
