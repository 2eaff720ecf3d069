"""The sparse autoencoder of the slides as printed, from several seeds: ReLU units under a KL penalty.

The program has 128 units, and its pictures 144. A unit that is 0 for a whole minibatch makes the penalty infinite, and
the program goes on with weights that are not numbers; a fit here stops instead. Other seeds never meet such a unit, and
end with a squared error that is above half of that of the mean image.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from gallery.catalogue.recipes import RECIPES
from gallery.models.sparse_autoencoder import SparseAutoencoder
from gallery.runs.prepare import noise_of
from gallery.runs.specification import run_of
from inference import SVI, InferenceError, reconstruct
from inference.files import write_atomically

__all__ = ["NAMES", "SEEDS", "printed", "reproduce"]

NAMES, SEEDS = ("sparse_autoencoder:slides", "sparse_autoencoder:slides:144"), range(6)


def printed(name: str, seed: int, quick: bool = False) -> dict[str, Any]:
    """Fit a recipe of the slides' program from one seed.

    :param quick: on the embedded digits
    :return: {"recipe", "seed"} and, of test images, {"squared_error", "mean_activation"}, or of a fit that stopped
        {"stopped": its message}
    """
    run = run_of(RECIPES[name], seed, quick)
    splits, pair = run.datasets(), cast(SparseAutoencoder, run.build())
    about: dict[str, Any] = {"recipe": name, "seed": seed}
    x = splits["test"].x
    with warnings.catch_warnings(), noise_of(run):
        warnings.filterwarnings("ignore", "Encountered", UserWarning)  # of the infinite penalty of a few data points
        try:
            for _ in SVI(pair, splits["train"].x, settings=run.settings):
                pass
        except InferenceError as stopped:
            return about | {"stopped": str(stopped)}
        error = (reconstruct(pair, x) - x).square().sum(1).mean().item()
    return about | {"squared_error": error, "mean_activation": pair.encoder(x).mean().item()}


def reproduce(
    folder: Path, fitted: Path | None = None, seeds: Sequence[int] = SEEDS, quick: bool = False
) -> dict[str, Any]:
    """Write printed.json, and return its content.

    :param fitted: not used
    """
    fits = [printed(name, seed, quick) for name in NAMES for seed in seeds]
    result = {"unit": "squared error summed over pixels, per data point", "fits": fits}
    write_atomically(folder / "printed.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
