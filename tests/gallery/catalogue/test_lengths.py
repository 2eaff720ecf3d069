"""Recipes of models with an exact evidence survive a change of their length.

Half and twice the epochs end within .02 nats per data point of the recipe, for every seed.
"""

import math
from dataclasses import replace

import pytest

from gallery.catalogue.recipes import RECIPES
from gallery.models import MODELS
from gallery.runs.specification import run_of
from inference import SVI, evaluate
from inference.pairs.capabilities import exact
from inference.pairs.streams import seeded

NATS, SEEDS = 0.02, range(5)
REFUSED = "exponential_gaussian:normal"
EXACT = [name for name, recipe in RECIPES.items() if exact(MODELS[recipe.model], "log_evidence") and name != REFUSED]


def end(name, seed, factor):
    """The bound on the training data, of a point its reconstruction, after `factor` times the epochs of a recipe."""
    run = run_of(RECIPES[name], seed)
    settings = replace(run.settings, epochs=round(factor * run.settings.epochs), engine="pyro")
    train, pair = run.datasets()["train"], run.build()
    with seeded(seed, "noise", 0):
        svi = SVI(pair, train.x, train.given, settings, train.transform)
        svi.runner.mode = "graph"
        for _ in svi:
            pass
    metrics = evaluate(pair, train.x, train.given, particles=64, held_out=False)
    return metrics["elbo" if "elbo" in metrics else "reconstruction"]


def close(name, seed, factor):
    first, other = (end(name, seed, f) for f in (1, factor))
    error = math.hypot(*(number.get("mc_se", 0.0) for number in (first, other)))
    return abs(first["value"] - other["value"]) < NATS + 4 * error


@pytest.mark.parametrize("name", ["loaded_die"])
def test_half_the_epochs_are_enough(name):
    assert close(name, 0, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("factor", [0.5, 2])
@pytest.mark.parametrize("name", [name for name in EXACT if name != "state_space:local_level"])  # minutes a fit
def test_half_and_twice_the_epochs_end_where_the_recipe_ends(name, factor):
    assert [seed for seed in SEEDS if not close(name, seed, factor)] == []


def test_exact_recipes_hold_their_rate():
    assert {RECIPES[name].settings["lr_schedule"] for name in EXACT} == {"flat_cosine"}
