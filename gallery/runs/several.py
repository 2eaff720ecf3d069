"""Runs of one recipe with several seeds, fitted in one graph: for small models, whose step is overhead."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from gallery.errors import RunError
from gallery.runs.divergence import naming
from gallery.runs.folder import check_free
from gallery.runs.interrupt import deferred_interrupt
from gallery.runs.loop import Training
from gallery.runs.prepare import noise_of, prepare
from gallery.runs.progress import ProgressListener
from gallery.runs.specification import Run
from gallery.runs.training import begun
from inference import InferenceError
from inference.fit.checkpoint import random_state
from inference.fit.several import SeveralFits, can_be_joined
from inference.products import using_products

__all__ = ["fit_several"]


def fit_several(runs: Sequence[Run], folders: Sequence[Path], listener: ProgressListener | None = None) -> bool:
    """Fit runs together, each into a new folder, if that can be done; return whether it was.

    The bounds are those of runs that are fitted one by one, but for rounding. The seconds of each are those that all of
    them took. A run whose loss is not finite ends the others at their last checkpoint, from which each is resumed
    alone.

    :param runs: that differ in their seeds
    :param listener: of the first run
    :raises RunError: if a folder holds a run, or if model, data and settings do not go together
    :raises KeyboardInterrupt: after SIGINT or SIGTERM, once the checkpoints are written
    """
    trainings: list[Training] = []
    for run, folder in zip(runs, folders, strict=True):
        check_free(folder, False)
        splits = run.datasets()
        svi = prepare(run, splits)
        if not can_be_joined(svi):
            return False
        trainings.append(Training(run, svi, splits, folder, None if trainings else listener))
    noise = []
    for run in runs:
        with noise_of(run):
            noise.append(random_state())
    try:
        several = SeveralFits([training.svi for training in trainings], noise)
    except InferenceError:
        return False
    try:
        with ExitStack() as stack:
            for training in trainings:
                stack.enter_context(begun(training))
            stack.enter_context(using_products(several.fits[0].products))
            _train(trainings, several)
            for k, training in enumerate(trainings):
                with several.noise_of(k):
                    training.end()
    except (InferenceError, RunError):
        return False
    return True


def _train(trainings: Sequence[Training], several: SeveralFits) -> None:
    """Run all steps of all fits.

    :raises KeyboardInterrupt: once a signal has arrived, after the checkpoints are written
    """
    first = several.fits[0]
    for k, training in enumerate(trainings):
        with several.noise_of(k):
            training.begin()
    with deferred_interrupt() as interrupted:
        while first.step < first.steps:
            clock = time.perf_counter()
            losses = several.train_steps(first.steps_left_of_epoch)
            seconds = time.perf_counter() - clock
            stop = partial(bool, interrupted())  # the same for all
            for k, training in enumerate(trainings):
                with several.noise_of(k), naming(training):
                    training.record(losses[k], seconds, stop)
            if stop():
                raise KeyboardInterrupt
