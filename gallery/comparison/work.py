"""Run one row of a comparison in a process: from its first weights to a file with its results.

Rows run in two rounds: first the fits. The second round takes the weights that the first objective of each guide was
fitted to. At these the noise of the gradient of every objective of that guide is measured, over the same minibatches,
NUTS samples the model, Pathfinder approximates its posterior, and AIS bounds its evidence from both sides. Where all
data share a latent, the posterior is not known and the model has no weights, a third round compares the guides with the
draws of NUTS.
"""

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.distributions import Distribution

from data import Dataset
from gallery.comparison.follow import (
    clock,
    error_curve,
    exact_evidence,
    final_evaluation,
    follow,
    follow_em,
    posterior_error,
    posterior_rows,
)
from gallery.comparison.rows import KEYS, NUTS_ROWS, Comparison, Row, parse_sampler
from gallery.runs.metrics import PERPLEXITY, Subject, compute
from gallery.runs.trust import content_of
from inference import Pair
from inference.errors import InferenceError
from inference.evaluation.bdmc import bdmc
from inference.evaluation.diagnostics import calibration
from inference.evaluation.estimate import Estimate
from inference.evaluation.particle_filter import estimate_fivo
from inference.evaluation.reference import against_draws, against_posterior, coordinates
from inference.fit.checkpoint import load_tensors, save_tensors
from inference.fit.gradients import gradient_noise
from inference.fit.nuts import nuts, summary
from inference.fit.pathfinder import pathfinder, summary_of
from inference.guides.after_fit import after_fit
from inference.guides.registry import finish
from inference.pairs.capabilities import exact
from inference.pairs.handlers import FittedRows
from inference.pairs.info import inspect_pair
from inference.pairs.run import arguments, eval_mode
from inference.pairs.streams import seeded

__all__ = [
    "approximate",
    "bound_evidence",
    "compare_with_nuts",
    "fit",
    "measure_noise",
    "sample",
    "specification",
]

MINIBATCHES, REPEATS = 8, 32  # over which the noise of a gradient is measured
SIMULATIONS, SIMULATED = 640, 100  # data points that calibrate a guide, and whose evidence is bounded from both sides
METRICS = ("evidence", "elbo", "iwae", "gap", "kl", "factors", "reconstruction", "undefined")


def fit(comparison: Comparison, row: Row, folder: Path, split: str) -> dict[str, Any]:
    """Fit a row of the first round with SVI or EM, and evaluate it on a split."""
    splits = comparison.run_of(row).datasets()
    train, x, given = splits["train"], *_values(splits[split])
    if row.name == "em":
        pair = comparison.pair(row, train)
        curve = follow_em(pair, comparison.run.settings.epochs, _values(train), x, given)
        result: dict[str, Any] = {"evidence": exact_evidence(pair, x, given)}
    else:
        svi = comparison.svi(row, train)
        curve, pair = follow(svi, x, given, row.seed), svi.pair
        save_tensors(row.file(folder, ".safetensors"), pair.state_dict(), {})
        pair = finish(pair, *_values(train))
        metrics = final_evaluation(pair, x, given, comparison.eval_draws, split == "test", row.seed)
        result = {name: metrics[name] for name in METRICS if name in metrics}
        if split == "test":
            result |= compute((PERPLEXITY,), Subject(pair, splits[split], seed=row.seed))
        if comparison.filters and "iwae" in result:
            try:
                result["fivo"] = estimate_fivo(pair, x, given, comparison.eval_draws, row.seed)
            except InferenceError as error:  # such as of a guide that draws in another order
                result["fivo"] = {"undefined": str(error)}
        result["posterior"] = _against_posterior(pair, x, given, row.seed)
        result["calibration"] = _calibration(pair, svi.pair, x, given, row.seed)
    if split == "test" and "evidence" in result:
        result["train evidence"] = exact_evidence(pair, *_values(train))
    work: dict[str, Any] = {name: curve[-1][name] for name in ("seconds", "passes", "gradients") if name in curve[-1]}
    return {**result, **work, "curve": curve}


def _against_posterior(pair: Pair, x: torch.Tensor, given: torch.Tensor | None, seed: int) -> dict[str, Any]:
    """Compare the guide with the exact posterior: of all data where a latent is global, else of the first ones."""
    joint = inspect_pair(pair, arguments(pair, x, given)).has_global_latent
    draws = 200 if joint else 1000  # joint draws are made one by one
    try:
        return against_posterior(pair, *posterior_rows(pair, x, given), draws, seed)
    except InferenceError as error:
        return {"undefined": str(error)}


def _calibration(
    pair: Pair, fitted: Pair, x: torch.Tensor, given: torch.Tensor | None, seed: int
) -> dict[str, Any] | None:
    """Calibrate a guide by data simulated from the model, under the covariates of x in turn; None if that is expensive.

    A guide for one data set would be fitted for each simulation, and one that is refined in evaluation for each draw.
    """
    with eval_mode(pair):
        info = inspect_pair(pair, arguments(pair, x, given))
    if info.has_global_latent or info.is_per_data_point or after_fit(fitted) or not (info.codes and info.generates):
        return None
    if given is not None:
        given = given[torch.arange(SIMULATIONS, device=given.device) % len(given)]
    try:
        return calibration(pair, x, given, SIMULATIONS, seed=seed)
    except InferenceError as error:
        return {"undefined": str(error)}


def measure_noise(comparison: Comparison, row: Row, folder: Path, split: str, at: Row) -> dict[str, Any]:
    """Measure the gradient noise of a row's objective at the weights that another row was fitted to."""
    train = comparison.run_of(row).datasets()["train"]
    weights, _ = load_tensors(at.file(folder, ".safetensors"))
    svi = comparison.svi(row, train, weights, engine="graph", warmup=0.0)
    return {"at": at.name, "noise": gradient_noise(svi, MINIBATCHES, REPEATS, row.seed)}


def sample(comparison: Comparison, row: Row, folder: Path, split: str, at: Row | None) -> dict[str, Any]:
    """Sample with NUTS: given all training data where a latent is global, else given the first NUTS_ROWS data points of
    the split."""
    pair, x, given, fitted = _fitted(comparison, row, folder, split, at)
    joint = inspect_pair(pair, arguments(pair, x, given)).has_global_latent
    if not joint:
        x, given = x[:NUTS_ROWS], None if given is None else given[:NUTS_ROWS]
    begun = clock()
    with _rows(split):
        chains = nuts(pair, x, given, comparison.nuts_draws, max(1, comparison.nuts_draws // 2), seed=row.seed)
    seconds, gradients = clock() - begun, chains["gradients"]
    varies = {name: ~of_site["constant"] for name, of_site in chains["summary"].items()}
    r_hat, sizes = (
        torch.cat([of_site[key][varies[name]].flatten() for name, of_site in chains["summary"].items()])
        for key in ("r_hat", "ess")
    )
    if not len(sizes):
        raise InferenceError("all draws of the latents are equal: there is nothing to diagnose.")
    ess = sizes.min().item()
    result = {
        "r_hat": r_hat.max().item(),
        "ess": ess,
        "ess_per_gradient": ess / gradients,
        "divergences": chains["divergences"],
        "at": fitted,
    }
    if constant := sum(int((~of_site).sum()) for of_site in varies.values()):
        result["constant"] = constant
    if joint and fitted is None:  # the reference of all fits
        save_tensors(row.file(folder, ".safetensors"), chains["draws"], {"divergences": chains["divergences"]})
    if (value := coordinates(pair, chains["draws"])) is not None:
        p = _posterior(pair, x, given)
        result |= posterior_error(summary(value), p)
        result["curve"] = error_curve(value, chains["gradients_at"], p)
    return {**result, "n": len(x), "gradients": gradients, "passes": gradients * len(x), "seconds": seconds}


def approximate(comparison: Comparison, row: Row, folder: Path, split: str, at: Row | None) -> dict[str, Any]:
    """Approximate the posterior of all training data by Pathfinder, with as many draws as both chains of NUTS have."""
    pair, x, given, fitted = _fitted(comparison, row, folder, split, at)
    draws, paths = max(25, 2 * comparison.nuts_draws), parse_sampler(row.name)[1]
    begun = clock()
    with _rows(split):
        found = pathfinder(pair, x, given, draws, paths, row.seed)
    seconds, best = clock() - begun, found["log_weights"][found["elbo"].argmax()]
    result = {name: found[name] for name in ("k_hat", "ess", "steps", "gradients", "densities")}
    result |= {"path_elbo": Estimate.of_draws(best.unsqueeze(1), len(x), particles=draws), "at": fitted, "n": len(x)}
    if (value := coordinates(pair, found["draws"])) is not None:
        result |= posterior_error(summary_of(value, found["ess"]), _posterior(pair, x, given))
    return {**result, "passes": (found["gradients"] + found["densities"]) * len(x), "seconds": seconds}


def _rows(split: str) -> AbstractContextManager[object]:
    """State for training data that they are the rows of the fit."""
    return FittedRows() if split == "train" else nullcontext()


def _posterior(pair: Pair, x: torch.Tensor, given: torch.Tensor | None) -> Distribution:
    with eval_mode(pair):
        return exact(pair, "posterior")(*arguments(pair, x, given))  # type: ignore[misc]


def compare_with_nuts(comparison: Comparison, row: Row, folder: Path, split: str, at: Row) -> dict[str, Any]:
    """Compare the guide of a row with the draws of NUTS, of a model without weights whose data share its latents."""
    train = comparison.run_of(row).datasets()["train"]
    pair = comparison.pair(row, train)
    pair.load_state_dict(load_tensors(row.file(folder, ".safetensors"))[0])
    draws, about = load_tensors(at.file(folder, ".safetensors"))
    try:
        errors = against_draws(finish(pair, *_values(train)), draws, about["divergences"], *_values(train), row.seed)
    except InferenceError as error:
        errors = {"undefined": str(error)}
    return {"posterior": errors}


def bound_evidence(comparison: Comparison, row: Row, folder: Path, split: str, at: Row | None) -> dict[str, Any]:
    """Bound the evidence of SIMULATED simulated data points from both sides with AIS.

    A conditional model gets the first covariates of the split, up to SIMULATED of them.
    """
    pair, x, given, fitted = _fitted(comparison, row, folder, split, at)
    given = None if given is None else given[:SIMULATED]
    n = SIMULATED if given is None else len(given)
    begun = clock()
    bounds = bdmc(pair, x, n, given, steps=parse_sampler(row.name)[1], seed=row.seed)
    seconds, gradients = clock() - begun, bounds["lower"]["gradients"] + bounds["upper"]["gradients"]
    return {**bounds, "at": fitted, "n": n, "gradients": gradients, "passes": gradients * n, "seconds": seconds}


def _fitted(
    comparison: Comparison, row: Row, folder: Path, split: str, at: Row | None
) -> tuple[Pair, torch.Tensor, torch.Tensor | None, str | None]:
    """Return a row's pair with the weights of the fitted row `at`.

    :return: (pair, x, given, label of `at`; None if the model has no weights)
    """
    splits = comparison.run_of(row).datasets()
    pair, (x, given) = comparison.pair(at or row, splits["train"]), _values(splits[split])
    if not inspect_pair(pair, arguments(pair, x, given)).generative_parameters:
        return pair, x, given, None
    if at is None:
        raise InferenceError("this row needs the weights of a fit, and no fit was finished.")
    pair.load_state_dict(load_tensors(at.file(folder, ".safetensors"))[0])
    return pair, x, given, at.label


def _values(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return (x as the model scores it, given); pixels that are drawn afresh are the same draw for all rows."""
    with seeded(0, "pixels"):
        return dataset.scored(), dataset.given


def specification(comparison: Comparison, row: Row, split: str, data_hash: str) -> dict[str, Any]:
    """Return what a row's results depend on, as it is read back from JSON."""
    run = {name: value for name, value in asdict(comparison.run_of(row)).items() if name != "threads"}
    spec = asdict(row) | run.pop("settings") | run | {"split": split, "data_hash": data_hash}
    numbers = {KEYS.get(name, name): getattr(comparison, name) for name in ("eval_draws", "nuts_draws")}
    numbers |= {"fivo": True} if comparison.filters else {}
    return json.loads(json.dumps(spec | numbers | content_of(comparison.run.model)))
