"""Can the bounds of a run be trusted? The Pareto k-hat of its test data, in words."""

from dataclasses import replace
from pathlib import Path

import data
from gallery.errors import RunError
from gallery.runs import training as runs
from gallery.runs.metrics import k_hat
from inference import InferenceError
from inference.evaluation.diagnostics import RELIABLE


def trust(folder: Path) -> str | None:
    """How heavy the tails of the importance weights are, datum by datum; None where there are none: under a guide that
    is a point or has parameters for each datum, a global latent, or data that are not here."""
    try:
        run, pair = runs.load(folder)
        run = replace(run, settings=replace(run.settings, device="cpu"))
        found = k_hat(pair.to("cpu"), run.datasets()["test"])
    except (RunError, InferenceError, data.DataError):
        return None
    if "k_hat_above" not in found:
        return None
    median, above = found["k_hat"], found["k_hat_above"]
    middle = f"median {median['value']:.2f}" if "value" in median else median["undefined"]
    return (
        f"Pareto k-hat of {above['n']} test data, from {above['particles']} draws each: {middle}; above {RELIABLE}, "
        f"where no practical number of draws makes the mean of importance weights reliable, for {above['value']:.0%}."
    )
