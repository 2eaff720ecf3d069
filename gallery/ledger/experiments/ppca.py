"""Which units of a linear VAE collapse, by the noise of its decoder: the closed form, and fits from several seeds.

The noise sigma is fixed. In closed form a unit lives if its eigenvalue of the covariance of the data exceeds sigma^2. A
unit of a fit lives if its KL from the prior exceeds 0.01 nats per data point.

    Lucas, Tucker, Grosse and Norouzi, Don't blame the ELBO! A linear VAE perspective on posterior collapse, 2019.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gallery.catalogue.recipes import RECIPES
from gallery.figures import save
from gallery.figures.collapse import collapse
from gallery.figures.rate import ACTIVE
from gallery.ledger.experiments.factor_analysis import exact_gap
from gallery.models.ppca import PPCA, set_optimum
from gallery.runs.prepare import noise_of
from gallery.runs.specification import run_of
from inference import SVI
from inference.evaluation.metrics import kl_per_latent
from inference.files import write_atomically

__all__ = ["SIGMAS", "reproduce"]

SIGMAS = (0.2, 0.4, 0.45, 0.5, 0.6, 0.7, 0.77, 0.8, 0.9)
EPOCHS = 400
SHOWN = 20  # eigenvalues


def _measured(pair: PPCA, x: Tensor) -> dict[str, float | int]:
    """Return the exact ELBO in nats per data point, and the number of units that live."""
    with torch.no_grad():
        elbo = pair.log_evidence(x).mean().item() - exact_gap(pair, x)
    return {"elbo": elbo, "living": sum(kl > ACTIVE for kl in kl_per_latent(pair, x)["z"])}


def reproduce(
    folder: Path,
    fitted: Path | None = None,
    sigmas: Sequence[float] = SIGMAS,
    seeds: Sequence[int] = range(2),
    epochs: int = EPOCHS,
) -> dict[str, Any]:
    """Fit the recipe with each noise and seed, write collapse.json and its figure, and return the file's content.

    :param fitted: not used
    :return: "eigenvalues", the largest of the covariance of the training data, "units" of the code, and for each noise
        "sigma", "living" and "elbo" of the closed form, and "fits", a list of the same for each seed
    """
    run, points = run_of(RECIPES["ppca"], 0), []
    x = run.datasets()["train"].x
    exact = x.double()
    eigenvalues = torch.linalg.eigvalsh(torch.cov(exact.T, correction=0)).flip(0)
    units = run.build().latent_dim
    for sigma in sigmas:
        best, fits = PPCA(x.shape[1], units, sigma).double(), []
        set_optimum(best, exact)
        for seed in seeds:
            run = run_of(replace(RECIPES["ppca"], keywords={"sigma": sigma}), seed)
            pair = run.build()
            with noise_of(run):
                for _ in SVI(pair, x, settings=replace(run.settings, epochs=epochs)):
                    pass
            fits.append(_measured(pair.double(), exact))
        points.append({"sigma": sigma, **_measured(best, exact), "fits": fits})
    kept = [round(value, 6) for value in eigenvalues[:SHOWN].tolist()]
    result = {"unit": "nats per data point", "data": run.data, "units": units, "eigenvalues": kept, "points": points}
    save(collapse(result), folder / "collapse.png")
    write_atomically(folder / "collapse.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
