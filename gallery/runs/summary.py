"""The latents of a fitted pair in numbers: mean, standard deviation and quantiles of draws of the guide."""

import math
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from data import Dataset
from data.synthetic import TRUTH
from gallery.runs.table import Table
from inference import Pair, eval_mode
from inference.evaluation.predictive import posterior_trace
from inference.pairs.capabilities import capability
from inference.pairs.handlers import OffsetRows
from inference.pairs.info import PairInfo, inspect_pair
from inference.pairs.properties import is_discrete
from inference.pairs.run import arguments
from inference.pairs.sites import Site, is_local, latent_sites, other_plate

__all__ = ["summarise"]

DRAWS = 4000  # of a latent: of the one that all data share, or of those of all rows together
MOST = 1_000_000  # draws times rows at a time
LOCAL = 40  # coordinates of a latent over all data points, up to which it is listed beside one that they share


def summarise(pair: Pair, splits: dict[str, Dataset], seed: int = 0) -> Table:
    """Return mean, sd, 5 % and 95 % quantile of every coordinate of the latents, from draws of the guide.

    A latent that all data share has its approximate posterior given the training data, with the true value where the
    data are synthetic; so have the latents of few data points beside it, and values that the model computes from both
    (`pyro.deterministic`). Otherwise a latent of a data point has its distribution over the test rows (the training
    rows where the guide is of these alone): draws at each row, together. A discrete one has the share of each value as
    its mean.

    :param splits: the splits of the fit, with "train" and "test"
    :param seed: of the draws
    """
    few = splits["train"].head(2)
    with eval_mode(pair):
        info = inspect_pair(pair, arguments(pair, few.scored(), few.given))
    split = "training" if info.has_global_latent or info.is_per_data_point else "test"
    dataset = splits["test" if split == "test" else "train"]
    truth = TRUTH.get(dataset.name.partition(":")[0], {})
    with OffsetRows(dataset.first_row or 0), eval_mode(pair, seed, "summarise"):
        rows: list[dict[str, Any]] = []
        for name, (draws, discrete) in _draws(pair, dataset, info).items():
            rows += _discrete_rows(name, draws) if discrete else _rows(name, draws, truth.get(name))
    shared = (
        "given the training data" if info.has_global_latent else f"draws of all {len(dataset):,} {split} rows together"
    )
    if capability(pair, "step_dim") and dataset.x[:, -1].isnan().any():
        shared += ", also after the end of their sequences"
    return Table(rows, f"latents under the guide, {shared}" if rows else "no latents: all are summed out")


def _draws(pair: Pair, dataset: Dataset, info: PairInfo) -> dict[str, tuple[Tensor, bool]]:
    """Return the draws (draws, *event) of every latent by name, and whether it is discrete.

    Of a pair with a latent that all data share, the others have all data points, (draws, n, *event), or are left out.
    """
    args, n = arguments(pair, dataset.scored(), dataset.given), len(dataset)
    at_a_time = min(DRAWS, max(1, MOST // n)) if info.has_global_latent else 1
    drawn: dict[str, list[Tensor]] = {}
    discrete: dict[str, bool] = {}
    for _ in range(math.ceil(DRAWS / (at_a_time if info.has_global_latent else n))):
        if info.has_global_latent:
            with pyro.plate("draws", at_a_time, dim=-2):
                trace = poutine.trace(pair.guide).get_trace(*args)
                model = poutine.trace(poutine.replay(pair.model, trace)).get_trace(*args)
            sites = latent_sites(trace) | _computed(model)
        else:
            sites = latent_sites(posterior_trace(pair, args))
        for name, site in sites.items():
            plate = other_plate(site)
            shape = (() if plate is None else (plate.size,)) + tuple(site["fn"].event_shape)
            if info.has_global_latent and is_local(site):
                shape = (n, *shape)
                if math.prod(shape) > LOCAL:
                    continue
            drawn.setdefault(name, []).append(site["value"].detach().reshape(-1, *shape))
            discrete[name] = is_discrete(site["fn"])
    return {name: (torch.cat(values), discrete[name]) for name, values in drawn.items()}


def _computed(model: poutine.Trace) -> dict[str, Site]:
    """Return the values that a model computes from latents and names."""
    sites: list[Site] = [site for site in model.nodes.values() if site["type"] == "sample"]
    return {site["name"]: site for site in sites if site["infer"].get("_deterministic")}


def _discrete_rows(name: str, draws: Tensor) -> list[dict[str, Any]]:
    if draws.dim() > 1:  # one-hot
        draws = draws.reshape(len(draws), -1).argmax(1)
    values = range(int(draws.max()) + 1)
    return [{"latent": f"{name} = {value}", "mean": (draws == value).double().mean().item()} for value in values]


def _rows(name: str, draws: Tensor, truth: Any) -> list[dict[str, Any]]:
    shape, flat = draws.shape[1:], draws.reshape(len(draws), -1).double().cpu()
    low, high = flat.quantile(torch.tensor([0.05, 0.95], dtype=torch.float64), dim=0)
    true = None if truth is None or truth.size != flat.shape[1] else truth.reshape(-1)
    rows: list[dict[str, Any]] = []
    for i, at in enumerate(torch.cartesian_prod(*(torch.arange(size) for size in shape)) if shape else [None]):
        index = "" if at is None else f"[{', '.join(map(str, at.reshape(-1).tolist()))}]"
        row = {"latent": f"{name}{index}", "mean": flat[:, i].mean().item(), "sd": flat[:, i].std().item()}
        row |= {"5 %": low[i].item(), "95 %": high[i].item()}
        rows.append(row if true is None else row | {"truth": float(true[i])})
    return rows
