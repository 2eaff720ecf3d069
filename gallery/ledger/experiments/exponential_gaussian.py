"""Five guides of the exponential-Gaussian model, compared with its exact posterior.

The guides are fitted to the same data: the family that contains the posterior, amortised; the same family with
parameters per data point; and three families that do not contain the posterior. The gap of the amortised guide is
parted into approximation and amortisation gap by `inference.gap`, on data points over the whole range of x: two fits
by different optimisers would differ by what the optimisers leave.
"""

import json
from pathlib import Path
from typing import Any

import data
from gallery.catalogue.recipes import RECIPES
from gallery.figures import amortisation, posterior_1d, save
from gallery.models import MODELS
from inference import SVI, FittedRows, Pair, Settings, eval_mode, gap
from inference.evaluation.log_weights import log_evidence, log_weights
from inference.files import write_atomically
from inference.pairs.streams import seeded

__all__ = ["GUIDES", "reproduce"]

GUIDES = ("", ":per_datum", ":exponential", ":gamma", ":log_normal")
EVERY = 4  # one data point in this many, in the order of x, has its gap parted
PARTS = {
    "approximation_gap": "approximation gap, log p(x) − ELBO(q*)",
    "amortisation_gap": "amortisation gap, ELBO(q*) − ELBO(q)",
}


def reproduce(folder: Path, fitted: Path | None = None, seed: int = 0) -> dict[str, Any]:
    """Fit each guide by its recipe, and write exponential_gaussian.json and the figures.

    :param fitted: not used
    :return: the content of the file: by recipe the mean gap log p(x) - ELBO over the training data, nats per data
        point, with its Monte Carlo error; and "parts", the two parts of the gap of the amortised guide
    """
    x = data.load("exponential_gaussian").x
    pairs: dict[str, Pair] = {}
    result: dict[str, Any] = {}
    for variant in GUIDES:
        name = f"exponential_gaussian{variant}"
        with seeded(seed, "experiment"):
            pair = MODELS[name](**({"total": len(x)} if variant == ":per_datum" else {}))
            for _ in SVI(pair, x, settings=Settings(**RECIPES[name].settings, seed=seed)):
                pass
        with FittedRows(), eval_mode(pair):
            evidence = log_evidence(pair, x)
            assert evidence is not None
            missing = evidence - log_weights(pair, x, k=64)
        error = missing.var(0).div(len(missing)).sum().sqrt().item() / len(x)
        result[name] = {"gap": missing.mean().item(), "mc_se": error, "n": len(x), "unit": "nats per data point"}
        pairs[variant] = pair
        figure = posterior_1d(pair, data=x) if variant == ":per_datum" else posterior_1d(pair)
        save(figure, folder / f"posterior{variant.replace(':', '_')}.png")
    few = x[x[:, 0].argsort()[::EVERY]]
    report = gap(pairs[""], few, draws=1000, seed=seed)
    result["parts"] = {part: report["mean"][part] for part in PARTS}
    parts = {words: report["per_data_point"][part] for part, words in PARTS.items()}
    save(amortisation(few, parts), folder / "amortisation.png")
    write_atomically(folder / "exponential_gaussian.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
