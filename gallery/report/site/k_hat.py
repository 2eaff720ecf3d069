"""The Pareto k-hat of the test data of a run: how reliable its importance-weighted estimates are."""

from dataclasses import replace
from pathlib import Path

import data
from gallery.errors import RunError
from gallery.runs import training
from gallery.runs.metrics import k_hat
from gallery.runs.report import weights_verdict
from inference import InferenceError

__all__ = ["k_hat_verdict"]


def k_hat_verdict(folder: Path) -> str | None:
    """Return a sentence on the Pareto k-hat per data point of the test data of a run.

    :return: None if k-hat is undefined (a Delta guide, a guide with parameters per data point, a global latent) or if
        the run or its data are missing
    """
    try:
        run, pair = training.load(folder)
        run = replace(run, settings=replace(run.settings, device="cpu"))
        summary = k_hat(pair.to("cpu"), run.datasets()["test"])
    except (RunError, InferenceError, data.DataError):
        return None
    if "k_hat_above" not in summary:
        return None
    return f"Importance weights, {summary['k_hat_above']['particles']} particles each: {weights_verdict(summary)}."
