"""The scale of the bounds of a recipe: logarithms of densities or of probabilities, which are never compared."""

from functools import cache

import pyro

from gallery.catalogue.recipe import Recipe
from gallery.catalogue.recipes import RECIPES
from gallery.runs.specification import run_of
from inference import eval_mode
from inference.pairs.info import inspect_pair
from inference.pairs.run import arguments

__all__ = ["scale_of"]

BOUNDS = ("ELBO", "IWAE", "FIVO", "log p(x)")
"""How the names of the fields begin that are bounds on log p(x), or its exact value."""


def scale_of(recipe: Recipe, field: str) -> str:
    """Return the scale of a field: "log density" of continuous x, "log probability" of discrete x; empty for others.

    >>> from gallery.catalogue.recipes import recipe_for
    >>> [scale_of(recipe_for(name), "ELBO") for name in ("factor_analysis", "loaded_die")]
    ['log density', 'log probability']
    >>> scale_of(recipe_for("loaded_die"), "log p(x) - ELBO")  # a difference of two logarithms has no scale
    ''

    :param field: the name of a quantity in the tables
    """
    return _scale(recipe.name) if field.startswith(BOUNDS) and " - " not in field else ""


@cache
def _scale(name: str) -> str:
    """Return the scale of log p(x) by the likelihood of the pair of a recipe, for two rows; no files are needed."""
    run = run_of(RECIPES[name], 0, quick=True)
    few, pair = run.datasets()["train"].head(2), run.build()
    with eval_mode(pair), pyro.validation_enabled(False):
        return inspect_pair(pair, arguments(pair, few.scored(), few.given)).scale
