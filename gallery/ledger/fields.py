"""The fields of a ledger entry by the names of the tables, which are also those of the published numbers of a recipe.

A field is of test data unless its name states simulated or training data. Bounds and densities are in nats per data
point. For the units of the others see `inference.evaluation` and `gallery.ledger.extra_metrics`.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, NamedTuple

from gallery.catalogue.recipe import Recipe
from gallery.ledger.sequence_metrics import FILTERED, PARTICLES
from gallery.models import MODELS
from gallery.runs.registry import constructor
from inference import Settings

__all__ = [
    "DISPLAYED",
    "LAST_EPOCHS",
    "PATHS",
    "Field",
    "differences",
    "displayed_fields",
    "field_value",
    "find_entry",
    "monte_carlo_error",
]

_BOUNDS = {"ELBO": "elbo", f"IWAE-{PARTICLES}": "iwae", f"FIVO-{PARTICLES}": "fivo"}
_FILTERED = {f"{bound} of {FILTERED} sequences": f"test filtered {key}" for bound, key in _BOUNDS.items()}
PATHS = {
    "ELBO": "test elbo",
    "ELBO per step": "test elbo_per_step",
    **_FILTERED,
    "IWAE-16": "test iwae",
    "IWAE-5000": "test iwae_5000",
    "IWAE-1000": "test iwae_1000",
    "log p(x), exact": "test evidence",
    "log p(x) of simulated data, from below": "simulated sandwich lower",
    "log p(x) of simulated data, from above": "simulated sandwich upper",
    "KL": "test kl",
    "perplexity": "test perplexity",
    "k-hat, median": "test k_hat",
    "k-hat above 0.7": "test k_hat_above",
    "log p(x | z)": "test reconstruction",
    "accuracy by Bayes' rule": "test accuracy",
    "cost of a wrong label": "test wrong_label_cost",
    "draws classified as intended": "generations accuracy",
    "accuracy of the digit classifier": "judge_accuracy",
    "accuracy, components matched to classes": "test clustering accuracy",
    "NMI of component and class": "test clustering nmi",
    "entropy of q(y | x)": "test clustering entropy_of_q",
    "entropy of the class given the component": "test clustering class_given_component",
    "accuracy of q(y | x)": "test classifier_accuracy",
    "accuracy of logistic regression on the same labels": "same_labels logistic_regression",
    "accuracy of a linear SVM on the same labels": "same_labels linear_svm",
    "squared error": "reconstruction_error",
    "squared error of the mean image": "mean_image",
    "squared error after uniform noise": "corrupted_error uniform",
    "squared error after masking": "corrupted_error masking",
    "squared error after Gaussian noise": "corrupted_error gaussian",
    "squared error after salt and pepper": "corrupted_error salt_pepper",
    "|dz/dx|^2": "jacobian_norm",
    "mean activation": "mean_activation",
    "most units that are not 0": "most_nonzero",
    "logistic regression on codes": "probe logistic_regression",
    "linear SVM on codes": "probe linear_svm",
    "10-NN on codes": "probe nearest_neighbours",
    "10-NN on pixels": "pixel_probe nearest_neighbours",
    "I(x; z)": "mutual_information mutual_information",
}
"""The keys, separated by spaces, that lead to a field in an entry of the ledger."""
LAST_EPOCHS = {"ELBO, last five epochs": 5, "ELBO, last ten epochs": 10}
"""Fields that are means of the ELBO over the last epochs: the number of epochs."""
LOCAL_ONLY = ("ELBO", "IWAE-16", "log p(x), exact", "KL")
"""Fields that are undefined on test data if a latent is global."""
DERIVED = ("data_dim", "steps", "step_dim", "classes", "given_dim", "total", "likelihood")
"""Hyper-parameters that follow from the data."""
OF_THE_RUN = ("seed", "device", "products")
"""Settings that are no part of a recipe."""
IN_USE = 0.01
"""A component is in use if it has more than this share of the data."""
DISPLAYED = (
    "ELBO",
    "ELBO per step",
    *_FILTERED,
    "log p(x), exact",
    "IWAE-1000",
    "ELBO, training data",
    "log p(x) - ELBO, training data",
    "log p(x) of simulated data, from below",
    "log p(x) of simulated data, from above",
    "KL",
    "perplexity",
    "k-hat, median",
    "k-hat above 0.7",
    "accuracy of the digit classifier",
    "cost of a wrong label",
    "accuracy, components matched to classes",
    "NMI of component and class",
    "components in use",
    "error of q(y | x)",
    "error by Bayes' rule",
    "error of logistic regression on the same labels",
    "error of a linear SVM on the same labels",
    "squared error",
    "squared error of the mean image",
    "squared error after uniform noise",
    "|dz/dx|^2",
    "mean activation",
    "most units that are not 0",
    "logistic regression on codes",
    "10-NN on codes",
)
"""Fields that the tables list beside those with a published number."""


def find_entry(entry: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the estimate of a field: its value, with errors, n and unit where the entry has them.

    The field "error X" is 1 - "accuracy X".

    :param entry: one run of the ledger
    :param name: name of the field, a key of `PATHS`
    :return: {"value", ...}; empty if the entry lacks the field
    """
    if name.startswith("error "):
        accuracy = find_entry(entry, f"accuracy {name.removeprefix('error ')}")
        return accuracy | {"value": 1 - accuracy["value"]} if accuracy else {}
    path = "train elbo" if name == "ELBO, training data" else PATHS.get(name, "")
    for key in path.split():
        entry = entry.get(key, {})
    return entry if "value" in entry else {}


def field_value(entry: dict[str, Any], name: str) -> float | None:
    """Return the value of a field of one run, None if the entry lacks it.

    :param entry: one run of the ledger
    :param name: name of the field: a key of `PATHS` or `LAST_EPOCHS`, "error X", "ELBO, epoch N", "ELBO, best epoch",
        "ELBO, training data", "log p(x) - ELBO, training data" or "components in use"
    """
    curve = entry["curve"].get("elbo", [])
    if name in LAST_EPOCHS:
        last = curve[-LAST_EPOCHS[name] :]
        return None if None in last or len(last) < LAST_EPOCHS[name] else sum(last) / len(last)
    if name == "ELBO, best epoch":
        return max((value for value in curve if value is not None), default=None)
    if name.startswith("ELBO, epoch ") and name.removeprefix("ELBO, epoch ").isdigit():
        epoch = int(name.removeprefix("ELBO, epoch "))
        return curve[epoch - 1] if epoch <= len(curve) else None
    is_global = "se" in entry["test"].get("undefined", {})  # a global latent has the posterior of the training data
    if is_global and name in LOCAL_ONLY:
        return None
    if name == "ELBO, training data":
        return entry["train"].get("elbo", {}).get("value") if is_global else None
    if name == "log p(x) - ELBO, training data":
        evidence, elbo = (entry["train"].get(key) for key in ("evidence", "elbo"))
        return evidence["value"] - elbo["value"] if evidence and elbo else None
    if name == "components in use":
        shares = entry["test"].get("clustering", {}).get("shares", ())
        return sum(share["value"] > IN_USE for share in shares) or None
    return find_entry(entry, name).get("value")


def differences(recipe: Recipe, entry: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Compare a recipe with a run in the ledger, whose recipe may have changed since.

    A setting or hyper-parameter that is younger than the run counts with its default.

    :param entry: one run of the ledger
    :return: name to (value of the recipe, value of the run), where they differ
    """
    settings, defaults = asdict(Settings(**recipe.settings)), asdict(Settings())
    values = {"validation": (recipe.validation, entry["validation"])}
    values |= {
        name: (value, entry["settings"].get(name, defaults[name]))
        for name, value in settings.items()
        if name not in OF_THE_RUN
    }
    for name, parameter in constructor(MODELS[recipe.model]).items():
        if name in recipe.keywords or name not in DERIVED:
            default = parameter.default
            values[name] = (recipe.keywords.get(name, default), entry["keywords"].get(name, default))
    return {name: pair for name, pair in values.items() if json.dumps(pair[0]) != json.dumps(pair[1])}


class Field(NamedTuple):
    """A field of a recipe: its name, the numbers to compare with, and its values over seeds."""

    name: str
    published: float | None
    remeasured: float | None
    values: list[float]


def displayed_fields(recipe: Recipe, row: dict[str, Any] | None) -> Iterator[Field]:
    """Yield the fields of a recipe that are published, re-measured, or in `DISPLAYED`.

    A field without any number is omitted.

    :param row: the row of the recipe in the ledger, None if it was not run
    """
    entries = list((row or {"runs": {}})["runs"].values())
    for name in dict.fromkeys((*recipe.published, *recipe.remeasured, *DISPLAYED)):
        values = [value for entry in entries if (value := field_value(entry, name)) is not None]
        known = recipe.published.get(name), recipe.remeasured.get(name)
        if values or known != (None, None):
            yield Field(name, *known, values)


def monte_carlo_error(entry: dict[str, Any], name: str) -> float | None:
    """Return the Monte Carlo error of a field of one run, from the noise of its evaluation; None without one.

    :param entry: one run of the ledger
    :param name: name of the field
    """
    if name == "log p(x) - ELBO, training data":  # its evidence is exact
        name = "ELBO, training data"
    return find_entry(entry, name).get("mc_se")
