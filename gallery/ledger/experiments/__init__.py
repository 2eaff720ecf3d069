"""The published experiments: each writes its numbers and figures into a folder.

An experiment belongs to a recipe. It takes the folder for its results and the folder of the first run of that recipe.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gallery.ledger.experiments import (
    autoencoder,
    conditionals,
    contractive_autoencoder,
    eight_schools,
    exponential_gaussian,
    factor_analysis,
    gmvae,
    information,
    lda,
    linear_regression,
    ppca,
    sparse_autoencoder,
    squared_gaussian,
    ss_vae,
    vae,
    vrnn,
)

__all__ = ["EXPERIMENTS"]

EXPERIMENTS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "autoencoder": autoencoder.reproduce,
    "contractive_autoencoder": contractive_autoencoder.reproduce,
    "eight_schools": eight_schools.reproduce,
    "exponential_gaussian": exponential_gaussian.reproduce,
    "factor_analysis": factor_analysis.reproduce,
    "gmvae": gmvae.reproduce,
    "lda": lda.reproduce,
    "linear_regression": linear_regression.reproduce,
    "loaded_die": conditionals.reproduce,
    "ppca": ppca.reproduce,
    "sparse_autoencoder": sparse_autoencoder.reproduce,
    "squared_gaussian": squared_gaussian.reproduce,
    "ss_vae:dynamic": ss_vae.reproduce,
    "vae:notes": lambda folder, fitted: vae.reproduce(folder, fitted) | information.reproduce(folder, fitted),
    "vrnn": vrnn.reproduce,
}
"""By name of the recipe: the function that runs the experiment, (folder for results, folder of the run) -> results."""
