"""The stream of minibatches of a fit.

The rows of all epochs, each epoch in a new order, form one stream that is cut into minibatches of equal size. So no
minibatch is smaller and no row is left out. The order of epoch e depends on (seed, e) alone.

Where few rows are labelled, most minibatches would have no labelled row, and the fit would forget between one labelled
row and the next. Labelled and other rows then form two strata with a stream each, and every minibatch takes a tenth of
its rows from the labelled one. Each row is weighted by the number of rows it stands for. The loss of this stratified
sample has the same mean and less variance.
"""

import math

import torch
from torch import Tensor

from inference.errors import InferenceError
from inference.fit import distributed
from inference.fit.settings import Settings
from inference.pairs.streams import stream

__all__ = ["Minibatches"]

LABELLED = 0.1  # the least fraction of a minibatch that is labelled, where some rows are


class Minibatches:
    """Row numbers of minibatch after minibatch, for one of the processes of a fit.

    `strata` lists (rows, number of them in each minibatch of this process), and `weights` are factors for the rows of a
    minibatch, (batch_size / workers,), or None if all are 1.

    :param x: (n, ...) all the data
    :param settings: batch_size, the rows of a minibatch for each process; shuffle; seed
    :param labelled: (n,) booleans, of data to stratify if few are True
    :raises InferenceError: if there are more processes than rows
    """

    def __init__(self, x: Tensor, settings: Settings, labelled: Tensor | None = None):
        self.seed, self.shuffle = settings.seed, settings.shuffle
        self.workers, self.rank = distributed.workers(), distributed.rank()
        if len(x) < self.workers:
            raise InferenceError(
                f"{self.workers} processes cannot share {len(x)} rows; expected a row for each.",
                f"Start at most {len(x)} processes.",
            )
        self._share = min(settings.batch_size, len(x) // self.workers)
        self.batch_size = self._share * self.workers
        self.strata = self._stratify(x, labelled)
        weights = [x.new_full((count,), len(rows) / len(x) * self._share / count) for rows, count in self.strata]
        self.weights = torch.cat(weights) if len(weights) > 1 else None
        self._orders: dict[tuple[int, int], Tensor] = {}

    def _stratify(self, x: Tensor, labelled: Tensor | None) -> list[tuple[Tensor, int]]:
        if labelled is not None:
            total, count = int(labelled.sum()), math.ceil(LABELLED * self._share)
            if 0 < total < LABELLED * len(x) and count < self._share:
                others = (~labelled).nonzero().squeeze(1)
                return [(labelled.nonzero().squeeze(1), count), (others, self._share - count)]
        return [(torch.arange(len(x), device=x.device), self._share)]

    def _order(self, stratum: int, epoch: int) -> Tensor:
        if (stratum, epoch) not in self._orders:
            rows, _ = self.strata[stratum]
            generator = torch.Generator()
            generator.manual_seed(stream(self.seed, "minibatches", stratum, epoch))
            order = torch.randperm(len(rows), generator=generator).to(rows.device)
            self._orders = {(s, e): o for (s, e), o in self._orders.items() if s != stratum or e == epoch - 1}
            self._orders[stratum, epoch] = rows[order] if self.shuffle else rows
        return self._orders[stratum, epoch]

    def many_rows(self, step: int, steps: int) -> Tensor:
        """Return `rows` of several steps, from `step` on: (steps, batch_size / workers) integers."""
        if self.workers > 1 or len(self.strata) > 1:
            return torch.stack([self.rows(i) for i in range(step, step + steps)])
        (part,) = self.strata
        return self._part(0, step * part[1], steps * part[1]).view(steps, -1)

    def _part(self, stratum: int, start: int, count: int) -> Tensor:
        """Return a part of the stream of a stratum."""
        parts, stop = [], start + count
        rows, _ = self.strata[stratum]
        while start < stop:
            epoch, i = divmod(start, len(rows))
            part = self._order(stratum, epoch)[i : i + stop - start]
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def rows(self, step: int) -> Tensor:
        """Return the rows of minibatch number `step`, from 0, of this process: (batch_size / workers,) integers."""
        first = step * self.workers + self.rank
        parts = [self._part(stratum, first * count, count) for stratum, (_, count) in enumerate(self.strata)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)
