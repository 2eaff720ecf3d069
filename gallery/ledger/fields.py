"""What the ledger says of one run, number by number, under the names that published numbers have in the recipes.

All are of test data, but for those that say that they are of simulated ones; bounds and densities are nats per data point,
for the unit of the others see `inference` and `judges`.
"""

from collections.abc import Iterator

from gallery.catalogue.recipes import Recipe

AT = {  # where a number stands in an entry of the ledger
    "ELBO": "test elbo",
    "IWAE-16": "test iwae",
    "IWAE-5000": "test iwae_5000",
    "log p(x), exact": "test evidence",
    "log p(x) of simulated data, from below": "simulated sandwich lower",
    "log p(x) of simulated data, from above": "simulated sandwich upper",
    "KL": "test kl",
    "k-hat, median": "test k_hat",
    "k-hat above 0.7": "test k_hat_above",
    "log p(x | z)": "test reconstruction",
    "accuracy by Bayes' rule": "test accuracy",
    "cost of a wrong label": "test wrong_label_cost",
    "draws classified as intended": "generations accuracy",
    "accuracy of their judge": "judge_accuracy",
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
LAST = {"ELBO, last five epochs": 5, "ELBO, last ten epochs": 10}
OF_LOCAL = ("ELBO", "IWAE-16", "log p(x), exact", "KL")
IN_USE = 0.01  # of the data, the share above which a component is
SHOWN = (
    "ELBO",
    "log p(x), exact",
    "ELBO, training data",
    "log p(x) - ELBO, training data",
    "log p(x) of simulated data, from below",
    "log p(x) of simulated data, from above",
    "KL",
    "k-hat, median",
    "k-hat above 0.7",
    "accuracy of their judge",
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


def found(entry: dict, name: str) -> dict:
    """Where a number stands in an entry of the ledger, with its errors, n and unit; empty if it does not. An error is
    what its accuracy lacks of 1."""
    if name.startswith("error "):
        right = found(entry, f"accuracy {name.removeprefix('error ')}")
        return right | {"value": 1 - right["value"]} if right else {}
    for key in AT.get(name, "").split():
        entry = entry.get(key, {})
    return entry if "value" in entry else {}


def measure(entry: dict, name: str) -> float | None:
    """One number of a run by its name; None where it has none."""
    curve = entry["curve"].get("elbo", [])
    if name in LAST:
        last = curve[-LAST[name] :]
        return sum(last) / len(last) if len(last) == LAST[name] else None
    if name == "ELBO, best epoch":
        return max(curve, default=None)
    if name.startswith("ELBO, epoch ") and name.removeprefix("ELBO, epoch ").isdigit():
        epoch = int(name.removeprefix("ELBO, epoch "))
        return curve[epoch - 1] if epoch <= len(curve) else None
    joint = "se" in entry["test"].get("undefined", {})  # a latent is global, and its posterior that of training data
    if joint and name in OF_LOCAL:
        return None
    if name == "ELBO, training data":
        return entry["train"].get("elbo", {}).get("value") if joint else None
    if name == "log p(x) - ELBO, training data":
        evidence, elbo = (entry["train"].get(key) for key in ("evidence", "elbo"))
        return evidence["value"] - elbo["value"] if evidence and elbo else None
    if name == "components in use":
        shares = entry["test"].get("clustering", {}).get("shares", ())
        return sum(share["value"] > IN_USE for share in shares) or None
    return found(entry, name).get("value")


def shown(recipe: Recipe, row: dict | None) -> Iterator[tuple[str, float | None, list[float]]]:
    """(name, published number, that of every seed) of what is published, and of what of SHOWN there is."""
    entries = list((row or {"runs": {}})["runs"].values())
    for name in dict.fromkeys((*recipe.published, *SHOWN)):
        found = [value for entry in entries if (value := measure(entry, name)) is not None]
        if found or name in recipe.published:
            yield name, recipe.published.get(name), found
