"""The published experiments: each writes its numbers and figures into a folder.

An experiment belongs to a recipe. It takes the folder for its results and the folder of the first run of that recipe.
Its module is imported when it runs: scikit-learn alone takes seconds.
"""

from importlib import import_module
from pathlib import Path

__all__ = ["EXPERIMENTS", "run_experiments"]

EXPERIMENTS: dict[str, tuple[str, ...]] = {
    "autoencoder": ("autoencoder",),
    "contractive_autoencoder": ("contractive_autoencoder",),
    "eight_schools": ("eight_schools",),
    "exponential_gaussian": ("exponential_gaussian",),
    "factor_analysis": ("factor_analysis",),
    "gmvae": ("gmvae",),
    "lda": ("lda",),
    "linear_regression": ("linear_regression",),
    "loaded_die": ("conditionals",),
    "ppca": ("ppca",),
    "sparse_autoencoder": ("sparse_autoencoder",),
    "squared_gaussian": ("squared_gaussian",),
    "ss_vae:dynamic": ("ss_vae",),
    "vae:notes": ("vae", "information"),
    "vrnn": ("vrnn",),
}
"""By name of the recipe: the modules whose `reproduce(folder for results, folder of the run)` are run."""


def run_experiments(recipe: str, folder: Path, fitted: Path) -> None:
    """Run the experiments of a recipe, which write their results into a folder.

    :param fitted: folder of the first run of the recipe
    """
    for module in EXPERIMENTS[recipe]:
        import_module(f"{__name__}.{module}").reproduce(folder, fitted)
