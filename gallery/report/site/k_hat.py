"""The Pareto k-hat of the test data of a run: how reliable its importance-weighted estimates are."""

from dataclasses import replace
from pathlib import Path

import data
from gallery.errors import RunError
from gallery.runs import training
from gallery.runs.metrics import k_hat
from inference import InferenceError
from inference.evaluation.diagnostics import K_HAT_THRESHOLD

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
    median, above = summary["k_hat"], summary["k_hat_above"]
    middle = f"median {median['value']:.2f}" if "value" in median else median["undefined"]
    return (
        f"Pareto k-hat of {above['n']} test data points, from {above['particles']} particles each: {middle}; "
        f"k-hat > {K_HAT_THRESHOLD} for {above['value']:.0%}. Importance-weighted estimates are unreliable there, "
        "whatever the practical number of particles."
    )
