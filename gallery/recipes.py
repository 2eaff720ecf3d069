"""Recipes: which model, on which data, fitted how, and what was published of it. One row, one entry of the gallery.

The first recipe of a model is what `gallery fit MODEL` starts from; every flag overrides it. `data_dim`, `classes`,
`given_dim`, `total` and `likelihood` come from the data unless a recipe or a flag says otherwise.
"""

from dataclasses import dataclass, field
from typing import Any

TUTORIAL = "Yang Zhi-Han, Training latent variable models with auto-encoding variational Bayes, arXiv 2208.07818"
VARIATIONAL = "Lecture slides on variational inference"
BERNOULLI = "Notes on Bernoulli VAEs"


@dataclass(frozen=True)
class Recipe:
    """A row of the table.

    :param name: of the recipe, `model` or `model:variant`
    :param model: name in the registry of models
    :param data: name for `data.load`
    :param keywords: of the model's constructor
    :param settings: of the fit, where they differ from the defaults of `inference.Settings`
    :param validation: are the last training images kept back? The published runs trained on all
    :param published: what a source reports: meaning -> number, nats per datum on the test set
    :param source: where the entry comes from
    """

    name: str
    model: str
    data: str
    source: str
    keywords: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    validation: bool = True
    published: dict[str, float] = field(default_factory=dict)


def _exponential_gaussian(variant: str) -> Recipe:
    name = f"exponential_gaussian{variant}"
    settings = {"epochs": 40, "batch_size": 50, "lr": 1e-2, "lr_schedule": "cosine"}
    if variant == ":per_datum":  # an update of each datum at every step
        settings |= {"epochs": 800, "batch_size": 2000, "lr": 5e-2}
    return Recipe(name, name, "exponential_gaussian", VARIATIONAL, settings=settings)


def _linear_regression(variant: str) -> Recipe:
    name = f"linear_regression{variant}"
    settings = {"epochs": 200, "batch_size": 20, "lr": 3e-2, "lr_schedule": "cosine", "adam_beta2": 0.99}
    settings["particles"] = 32
    return Recipe(name, name, "line", BERNOULLI, settings=settings)


def _factor_analysis(variant: str) -> Recipe:
    name = f"factor_analysis{variant}"
    settings = {"epochs": 200, "batch_size": 32, "lr": 1e-2, "lr_schedule": "cosine"}
    return Recipe(name, name, "factor_analysis", TUTORIAL, settings=settings)


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in [
        *map(_exponential_gaussian, ("", ":per_datum", ":exponential", ":gamma", ":log_normal", ":normal")),
        *map(_linear_regression, ("", ":mean_field", ":map", ":unknown_noise")),
        *map(_factor_analysis, ("", ":diagonal", ":fixed_variance")),
        Recipe(
            "vae",
            "vae",
            "mnist:dequantized",
            TUTORIAL,
            settings={"epochs": 46, "batch_size": 32, "lr": 3e-4},
            validation=False,
            published={"ELBO, epoch 1": 1655.0, "ELBO, epoch 10": 1777.0, "ELBO, epoch 46": 1788.4},
        ),
        Recipe(
            "cvae",
            "cvae",
            "mnist:dequantized",
            TUTORIAL,
            settings={"epochs": 69, "batch_size": 100, "lr": 3e-4},
            validation=False,
            published={
                "ELBO, epoch 1": 1458.5,
                "ELBO, epoch 10": 1772.9,
                "ELBO, epoch 50": 1816.1,
                "ELBO, epoch 69": 1820.1,
                "accuracy by Bayes' rule": 0.9095,
                "cost of a wrong label": 42.5,
            },
        ),
        Recipe(
            "cvae:standard",
            "cvae:standard",
            "mnist:dequantized",
            "Lecture slides on autoencoders and VAEs",
            settings={"epochs": 69, "batch_size": 100, "lr": 3e-4},
            validation=False,
        ),
    ]
}


def recipe_for(model: str) -> Recipe | None:
    """The first recipe of a model, by its name in the registry."""
    return next((recipe for recipe in RECIPES.values() if recipe.model == model), None)
