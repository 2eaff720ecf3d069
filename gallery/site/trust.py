"""Can the bounds of a run be trusted? The Pareto k-hat of its test data, in words."""

import math
from dataclasses import replace
from pathlib import Path

import torch

import data
from inference import InferenceError, judging
from inference.diagnostics import pareto_k
from inference.evaluate import is_per_datum
from inference.evidence import log_weights
from inference.pairs import arguments, is_local, latent_sites, look

from .. import runs
from ..classes import RunError

DATA, DRAWS = 50, 400  # test data, and draws of the guide for each
LIMIT = min(1 - 1 / math.log10(DRAWS), 0.7)  # above it the mean of so many weights is not reliable


def trust(folder: Path) -> str | None:
    """How heavy the tails of the importance weights are, datum by datum; None where there are none: under a guide that
    is a point or has parameters for each datum, a global latent, or data that are not here."""
    try:
        run, pair = runs.load(folder)
        run = replace(run, settings=replace(run.settings, device="cpu"))
        test = run.datasets()["test"].head(DATA)
        x, given, pair = test.scored(), test.given, pair.to("cpu")
        args = arguments(pair, x, given)
        if is_per_datum(pair, args) or not all(map(is_local, latent_sites(look(pair, args).guide).values())):
            return None
        with judging(pair), torch.no_grad():
            k = pareto_k(log_weights(pair, x, given, DRAWS))
    except (RunError, InferenceError, data.DataError):
        return None
    share = (k > LIMIT).double().mean().item()
    middle, largest = (
        "−∞, for all weights are alike" if value == -math.inf else f"{value:.2f}" for value in (k.median(), k.max())
    )
    return (
        f"Pareto k-hat of {len(k)} test data, from {DRAWS} draws each: median {middle}; largest {largest}; "
        f"above {LIMIT:.2f}, where the mean of so many importance weights is not reliable, for {share:.0%}."
    )
