"""The two directions of the KL on the bimodal posterior of the squared Gaussian, and the guide that is fitted to it."""

from pathlib import Path
from typing import Any

import data
from gallery.catalogue.recipes import RECIPES
from gallery.figures import posterior_1d, save, two_kls
from gallery.models.squared_gaussian import SquaredGaussian
from inference import SVI, Settings
from inference.pairs.streams import seeded

__all__ = ["reproduce"]


def reproduce(folder: Path, fitted: Path | None = None, seed: int = 0) -> dict[str, Any]:
    """Fit the pair by its recipe, and draw its posteriors beside the guide, and the nearest normals by both KLs.

    :param fitted: not used
    :return: empty: the numbers are in the pictures
    """
    x = data.load("squared_gaussian").x
    with seeded(seed, "experiment"):
        pair = SquaredGaussian()
        for _ in SVI(pair, x, settings=Settings(**RECIPES["squared_gaussian"].settings, seed=seed)):
            pass
    save(posterior_1d(pair), folder / "posterior.png")
    save(two_kls(), folder / "two_kls.png")
    return {}
