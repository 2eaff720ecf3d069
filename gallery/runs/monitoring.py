"""Held-out metrics and posterior collapse after an epoch, for the lines of history.jsonl."""

import math
from typing import Any

from data import Dataset
from gallery.runs.metrics import monitor_clustering
from inference import SVI, collapsed, monitor_elbo
from inference.pairs.run import Batch

__all__ = ["collapsed_latents", "held_out", "is_evaluated"]

MONITOR_ROWS = 500  # training data points on which posterior collapse is checked
SHORT_EPOCH = 100  # steps of an epoch, below which evaluating after it takes about as long as the epoch
ALWAYS = 10  # first epochs, each of which is evaluated
GROWTH = 1.1  # of the number of epochs from one evaluation to the next, after these


def is_evaluated(epoch: int, epochs: int, steps: int) -> bool:
    """Return whether held-out data are evaluated after an epoch: all epochs, or fewer and fewer where they are short.

    Which ones depends on no clock, so that a fit has the same history every time.

    >>> [epoch for epoch in range(1, 31) if is_evaluated(epoch, epochs=30, steps=30)]
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 21, 24, 27, 30]

    :param epoch: the number of the epoch, from 1
    :param epochs: of the fit, whose last one is evaluated
    :param steps: of an epoch
    """
    if steps >= SHORT_EPOCH or epoch in (1, epochs):
        return True
    evaluated = 1
    while evaluated < epoch:
        evaluated = evaluated + 1 if evaluated < ALWAYS else math.ceil(GROWTH * evaluated)
    return evaluated == epoch


def held_out(svi: SVI, splits: dict[str, Dataset]) -> dict[str, dict[str, float]]:
    """Return the bounds on validation and test data, by split; a number that is not finite is left out.

    :param splits: train, test, and validation where it is kept apart
    """
    if svi.plan.is_per_data_point:  # a latent of a data point outside the training data has no guide
        return {}
    seed = svi.settings.seed
    held = {name: split for name, split in splits.items() if name != "train"}
    values = {
        name: monitor_elbo(svi.pair, split.x, split.given, seed) | monitor_clustering(svi.pair, split, seed)
        for name, split in held.items()
    }
    return {name: {key: value for key, value in of.items() if math.isfinite(value)} for name, of in values.items()}


def collapsed_latents(svi: SVI, evaluated: bool) -> dict[str, Any]:
    """Return {"collapsed": the latents whose posterior has collapsed on the first training data}; empty without one.

    It is checked once the KL has its full weight.

    :param evaluated: whether to check it after this epoch
    """
    if not svi.beta or svi.beta < svi.settings.beta or svi.plan.is_per_data_point:
        return {}
    few = Batch(svi.x, svi.given)[:MONITOR_ROWS]
    x = svi.transform(few.x)  # in every epoch, since it may draw from the generator of the fit
    latents = collapsed(svi.pair, x, few.given) if evaluated else []
    return {"collapsed": latents} if latents else {}
