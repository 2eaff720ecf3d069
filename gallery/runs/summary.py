"""The latents of a fitted pair in numbers: mean, standard deviation and quantiles of draws of the guide."""

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import constraints

from data import Dataset
from data.synthetic import TRUTH
from gallery.runs.table import Table
from inference import Pair, eval_mode
from inference.evaluation.predictive import posterior_trace
from inference.pairs.ends import entries_within
from inference.pairs.handlers import FittedRows
from inference.pairs.info import PairInfo, inspect_pair
from inference.pairs.properties import base_of, is_discrete, support_of
from inference.pairs.run import arguments, repeat
from inference.pairs.sites import Site, is_local, latent_sites, other_plate

__all__ = ["summarise"]

DRAWS = 4000  # of a latent: of the one that all data share, or of those of all rows together
TOGETHER = 500  # rows at a time, where there are fewer than these
MOST = 1_000_000  # draws times rows at a time
VALUES = 100  # of a discrete latent: those below have a row each, larger counts a mean and quantiles
LOCAL = 40  # coordinates of a latent over all data points, up to which it is listed beside one that they share


def summarise(pair: Pair, splits: dict[str, Dataset], seed: int = 0) -> Table:
    """Return mean, sd, 5 % and 95 % quantile of every coordinate of the latents, from draws of the guide.

    A latent that all data share has its approximate posterior given the training data, with the true value where the
    data are synthetic; so have the latents of few data points beside it, and values that the model computes from both
    (`pyro.deterministic`). Otherwise a latent of a data point has its distribution over the test rows (the training
    rows where the guide is of these alone): draws at each row, together. What belongs to a step of a sequence has the
    draws at the rows that have this step, and is left out where none has. A discrete one has the share of each value as
    its mean.

    :param splits: the splits of the fit, with "train" and "test"
    :param seed: of the draws
    """
    few = splits["train"].head(2)
    with eval_mode(pair):
        of_few = arguments(pair, few.scored(), few.given)
        info = inspect_pair(pair, of_few)
        computes = info.has_global_latent and bool(
            _computed(pair, of_few, poutine.trace(pair.guide).get_trace(*of_few))
        )
    split = "training" if info.has_global_latent or info.is_per_data_point else "test"
    dataset = splits["test" if split == "test" else "train"]
    truth = TRUTH.get(dataset.name.partition(":")[0], {})
    with FittedRows(dataset.first_row or 0), eval_mode(pair, seed, "summarise"):
        rows: list[dict[str, Any]] = []
        args = arguments(pair, dataset.scored(), dataset.given)
        if split == "test":
            args = repeat(args, max(1, min(DRAWS, TOGETHER) // len(dataset)))
        within = entries_within(pair, args)
        drawn = _draws(pair, args, info, within or {}, computes)
        for name, draws in drawn.items():
            rows += draws.rows(name, truth.get(name))
    shared = (
        "given the training data" if info.has_global_latent else f"draws of all {len(dataset):,} {split} rows together"
    )
    if omitted := [name for name in info.guide_sites if name not in drawn]:
        shared += f"; left out, as values of single data points: {', '.join(omitted)}"
    if within is None:
        shared += ", also after the end of their sequences"
    elif within:
        shared += ", each step of the sequences that have it"
    return Table(rows, f"latents under the guide, {shared}" if rows else "no latents: all are summed out")


@dataclass(frozen=True)
class _Draws:
    """Draws of a latent, (draws, *event); which of them belong to a step of a sequence (all if None)."""

    values: Tensor
    within: Tensor | None
    discrete: bool

    def rows(self, name: str, truth: Any) -> list[dict[str, Any]]:
        """Return the rows of a table: of every coordinate, or of every value of a discrete one."""
        shape, flat = self.values.shape[1:], self.values.flatten(1) if self.values.dim() > 1 else self.values[:, None]
        within = None if self.within is None else self.within.reshape(flat.shape)
        true = None if truth is None or truth.size != flat.shape[1] else truth.reshape(-1)
        rows: list[dict[str, Any]] = []
        for i, at in enumerate(product(*map(range, shape))):
            of = (flat[:, i] if within is None else flat[within[:, i], i]).double().cpu()
            label = f"{name}[{', '.join(map(str, at))}]" if at else name
            if len(of) and self.discrete and of.max() < VALUES:
                shares = [(of == value).double().mean().item() for value in range(int(of.max()) + 1)]
                rows += [{"latent": f"{label} = {value}", "mean": share} for value, share in enumerate(shares)]
            elif len(of):
                row = {"latent": label, "mean": of.mean().item()}
                if len(of) > 1:
                    low, high = of.quantile(of.new_tensor([0.05, 0.95])).tolist()
                    row |= {"sd": of.std().item(), "5 %": low, "95 %": high}
                rows.append(row if true is None else row | {"truth": float(true[i])})
        return rows


def _draws(
    pair: Pair, args: tuple[Tensor, ...], info: PairInfo, within: dict[str, Tensor], computes: bool
) -> dict[str, _Draws]:
    """Return the draws of every latent by name, those of one-hot latents as integers.

    Of a pair with a latent that all data share, the others have all data points, (draws, n, *event), or are left out.

    :param within: by site, which entries belong to a step of a sequence
    :param computes: whether the model computes values from a latent that all data share; it is run for these alone
    """
    n = len(args[0])
    at_a_time = min(DRAWS, max(1, MOST // n)) if info.has_global_latent else 1
    drawn: dict[str, list[Tensor]] = {}
    kept: dict[str, list[Tensor]] = {}
    discrete: dict[str, bool] = {}
    for _ in range(math.ceil(DRAWS / (at_a_time if info.has_global_latent else n))):
        if info.has_global_latent:
            with pyro.plate("draws", at_a_time, dim=-2):
                guide = poutine.trace(pair.guide).get_trace(*args)
                sites = latent_sites(guide) | (_computed(pair, args, guide) if computes else {})
        else:
            sites = latent_sites(posterior_trace(pair, args, info.enumerated_in_model))
        for name, site in sites.items():
            value, shape, plate = site["value"].detach(), tuple(site["fn"].event_shape), other_plate(site)
            inside = within[name].expand(value.shape) if name in within else None
            if (support := support_of(site["fn"])) is not None and base_of(support) == constraints.one_hot:
                value, shape = value.argmax(-1), shape[:-1]
                inside = None if inside is None else inside[..., 0]
            shape = shape if plate is None else (plate.size, *shape)
            if info.has_global_latent and is_local(site):
                shape = (n, *shape)
                if math.prod(shape) > LOCAL:
                    continue
            drawn.setdefault(name, []).append(value.reshape(-1, *shape))
            if inside is not None:
                kept.setdefault(name, []).append(inside.reshape(-1, *shape))
            discrete[name] = is_discrete(site["fn"])
    return {
        name: _Draws(torch.cat(values), torch.cat(kept[name]) if name in kept else None, discrete[name])
        for name, values in drawn.items()
    }


def _computed(pair: Pair, args: tuple[Tensor, ...], guide: poutine.Trace) -> dict[str, Site]:
    """Run the model on draws of the guide, and return the values that it computes from latents and names."""
    model = poutine.trace(poutine.replay(pair.model, guide)).get_trace(*args)
    sites: list[Site] = [site for site in model.nodes.values() if site["type"] == "sample"]
    return {site["name"]: site for site in sites if site["infer"].get("_deterministic")}
