"""The sparse autoencoder of the slides as printed, from several seeds: ReLU units under a KL penalty.

The program has 128 units, and its pictures 144. A unit that is 0 for a whole minibatch makes the penalty infinite, and
the program goes on with weights that are not numbers; a fit here stops instead. Other seeds never meet such a unit, and
end with a squared error that is above half of that of the mean image.
"""

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from data import Dataset
from gallery.catalogue.recipes import RECIPES
from gallery.figures import activations, reconstructions, save, sparsity
from gallery.models.sparse_autoencoder import SparseAutoencoder
from gallery.runs.prepare import noise_of
from gallery.runs.specification import run_of
from inference import SVI, InferenceError, Pair, reconstruct
from inference.files import write_atomically

__all__ = ["NAMES", "SEEDS", "before_and_after", "printed", "reproduce"]

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


def before_and_after(quick: bool = False) -> tuple[dict[str, Pair], Dataset]:
    """Fit the first recipe without and with its penalty, from the same start.

    :param quick: on the embedded digits
    :return: the pairs by name, and the test data
    """
    base, pairs = run_of(RECIPES["sparse_autoencoder"], 0, quick), {}
    splits = base.datasets()
    for name, change in (("without the penalty", {"weight": 0.0}), ("with the penalty", {})):
        run = replace(base, keywords=base.keywords | change)
        pairs[name] = run.build()
        with noise_of(run):
            for _ in SVI(pairs[name], splits["train"].x, settings=run.settings):
                pass
    return {name: pair.eval() for name, pair in pairs.items()}, splits["test"]


def reproduce(
    folder: Path, fitted: Path | None = None, seeds: Sequence[int] = SEEDS, quick: bool = False
) -> dict[str, Any]:
    """Write printed.json and figures of the penalty, of a code without and with it, and of what the latter restores.

    :param fitted: not used
    """
    save(sparsity(0.25), folder / "sparsity.png")
    pairs, test = before_and_after(quick)
    codes = activations(pairs, test)
    assert codes is not None
    save(codes, folder / "activations.png")
    save(reconstructions(pairs["with the penalty"], test), folder / "reconstructions.png")
    fits = [printed(name, seed, quick) for name in NAMES for seed in seeds]
    result = {"unit": "squared error summed over pixels, per data point", "fits": fits}
    write_atomically(folder / "printed.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
