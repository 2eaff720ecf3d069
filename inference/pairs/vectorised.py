"""Test that a pair gives to many values of a latent at once the log-densities that it gives to each of them, and to
many rows those that it gives to each.

Many values stand along a dimension to the left of the plate: those of an enumerated site, or particles of a global one.
"""

import copy
from contextlib import suppress
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer.enum import get_importance_trace
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from inference.pairs.handlers import SetRows
from inference.pairs.pair import Pair
from inference.pairs.run import cuda_devices, param_scope, same_buffers
from inference.pairs.sites import TRANSFORMED, Site, is_local, latent_sites, observed_sites, unwrap
from inference.pairs.streams import seed_torch
from inference.pairs.values import NUDGE, nudged_weights

__all__ = ["FROM_OTHERS", "row_fault", "site_from_others"]

FROM_OTHERS = (
    "{} has another log-density where {} has many values at once than where it has one of them. They stand along a "
    "dimension to the left of the plate: select by z[..., 0], index a table by Vindex(table)[..., y], and write "
    "arithmetic that broadcasts."
)
FROM_ROWS = (
    "{} has another log-density at a data point where other data points stand beside it. Compute it from that row "
    "alone; what all rows share, such as a mean over the data, is a parameter or a buffer."
)
UNSCALED = (
    "the factor {} stands outside the plate 'data' and changes with the rows, so that its weight would depend on the "
    "size of a minibatch. Write it inside the plate, in nats per data point."
)
CASES = 3  # of the values of each enumerated site
NOISES = 6  # seeds of other noise, with none of which a density may change
ROUNDING = 64  # units in the last place of a value, which a matrix product may round by
ROUNDINGS = 8  # that are tried: the change of a density by one of them may cancel
PARTICLES = "particles"
PARTS = "model", "guide"


def site_from_others(pair: Pair, args: tuple[Tensor, ...], particles: bool = False) -> tuple[str, str] | None:
    """Return the first site whose log-density at a value of a latent depends on the other values that the latent has in
    the same run, and the names of such latents; None without one.

    The pair is run with all values of its enumerated sites, in the mode that it is in, and then conditioned on some of
    them, one by one. What changes with other noise, or cannot be conditioned, is no sign. It raises
    what the pair raises on many values.

    :param args: (x,) or (x, given), (n, ...) each, of a few rows
    :param particles: draw several values of each global latent, as an objective does that draws them together
    """
    double = tuple(a.double() if a.is_floating_point() else a for a in args)
    with torch.no_grad(), torch.random.fork_rng(cuda_devices(pair)), pyro.validation_enabled(False):
        with suppress(Exception):  # any error of the user's code, which may know one precision alone
            return _differing_site(copy.deepcopy(pair).double(), double, particles, 1e-8)
        with suppress(Exception):
            return _differing_site(pair, args, particles, 1e-3)
        return _differing_site(pair, args, particles, 1e-3, nudge=0.0)  # weights beside its own may be impossible


def row_fault(pair: Pair, args: tuple[Tensor, ...]) -> str | None:
    """Return a sentence if the log-density of a site at a data point depends on the other rows of the minibatch, or if
    a factor outside the plate depends on any; else None.

    The pair is run on all rows and on each half of them, in the mode that it is in, with the same values of all
    latents. What changes with other noise is no sign. A point has no density, and a factor in the plate may be a mean
    over rows: they are not compared. A pair that cannot be run so has no such site.

    :param args: (x,) or (x, given), (n, ...) each, of a few rows
    """
    double = tuple(a.double() if a.is_floating_point() else a for a in args)
    with torch.no_grad(), torch.random.fork_rng(cuda_devices(pair)), pyro.validation_enabled(False):
        with suppress(Exception):  # any error of the user's code, which may know one precision alone
            return _coupled(copy.deepcopy(pair).double(), double, 1e-8)
        with suppress(Exception):
            return _coupled(pair, args, 1e-3)
    return None


def _coupled(pair: Pair, args: tuple[Tensor, ...], tolerance: float) -> str | None:
    rows = torch.arange(len(args[0]), device=args[0].device)
    with same_buffers(pair), nudged_weights(pair):
        with SetRows(rows):
            seed_torch(0)
            with param_scope():
                guide = poutine.trace(pair.guide).get_trace(*args)
                model = poutine.trace(poutine.replay(pair.model, guide)).get_trace(*args)
            traces = zip(PARTS, (model, guide), strict=True)
            sites = {(part, name): site for part, trace in traces for name, site in _sampled(trace)}
            latents = {name: site for (_, name), site in sites.items() if not site["is_observed"]}
            values = {name: site["value"] for name, site in latents.items()}
            observed = {name: site["value"] for name, site in observed_sites(model).items()}
            together, again = (_log_densities(pair, args, values, seed, observed) for seed in (0, 1))
        axes = {name: len(site["fn"].batch_shape) - 1 for (_, name), site in sites.items() if is_local(site)}
        halves = []
        for half in rows.tensor_split(2):
            few, seen = (
                {name: v.index_select(axes[name], half) if name in axes else v for name, v in of.items()}
                for of in (values, observed)
            )
            with SetRows(half):
                halves.append(_log_densities(pair, tuple(a[half] for a in args), few, 0, seen))
        for (part, name), of in together.items():
            site, of_halves = sites[part, name], [half[part, name] for half in halves]
            fn = unwrap(site["fn"], TRANSFORMED)
            if isinstance(fn, dist.Delta) or not _same(of, again[part, name], tolerance):
                continue
            if isinstance(fn, dist.Unit):
                if not is_local(site) and not _same(of.sum(), of_halves[0].sum(), tolerance):
                    return UNSCALED.format(name)
            elif is_local(site) and not _same(of, joined := torch.cat(of_halves, -1), tolerance):
                with SetRows(rows):
                    errors = _rounding_errors(pair, args, values, together, observed)
                if not _same(of, joined, tolerance, errors[part, name]):
                    return FROM_ROWS.format(f"{name} of the {part}")
    return None


def _differing_site(
    pair: Pair, args: tuple[Tensor, ...], particles: bool, tolerance: float, nudge: float = NUDGE
) -> tuple[str, str] | None:
    """Return what `site_from_others` does, of a pair that can be run on these data."""
    rows = torch.arange(len(args[0]), device=args[0].device)
    with same_buffers(pair), nudged_weights(pair, nudge), SetRows(rows):
        traces = _run_with_all(pair, args, particles)
        drawn = {name: site for trace in traces for name, site in latent_sites(trace).items()}
        sizes = {name: _number_of_values(site) for name, site in drawn.items() if "_enumerate_symbol" in site["infer"]}
        many = [name for name, site in drawn.items() if name in sizes or (particles and not is_local(site))]
        for case in range(CASES if sizes else bool(many)):
            at = {drawn[name]["infer"]["_enumerate_symbol"]: (case + i) % sizes[name] for i, name in enumerate(sizes)}
            at[traces[0].plate_to_symbol.get(PARTICLES)] = 1
            together, values = {}, {}
            for part, trace in zip(PARTS, traces, strict=True):
                for name, site in _sampled(trace):
                    if not isinstance(unwrap(site["fn"], TRANSFORMED), dist.Delta):  # a point has no density
                        together[part, name] = _one_of(site["log_prob"], site, at)
                    if not site["is_observed"]:
                        values[name] = _alone(_one_of(site["value"], site, at, site["fn"].event_dim), site)
            try:
                alone = _log_densities(pair, args, values)
                differs = {key for key, of in together.items() if not _same(of, alone[key], tolerance)}
                errors = _rounding_errors(pair, args, values, alone) if differs else {}
                differs = {key for key in differs if not _same(together[key], alone[key], tolerance, errors[key])}
                for seed in range(1, NOISES) if differs else ():
                    again = _log_densities(pair, args, values, seed)
                    differs = {key for key in differs if _same(again[key], alone[key], tolerance)}
            except Exception:  # any error of the user's code: it may know a density at its own draws alone
                return None
            if differs:
                part, name = next(key for key in together if key in differs)
                return f"{name} of the {part}", " and ".join(many)
    return None


def _run_with_all(pair: Pair, args: tuple[Tensor, ...], particles: bool) -> tuple[poutine.Trace, poutine.Trace]:
    """Return the traces (model, guide) with all values of enumerated sites, their dimensions with symbols."""
    guide, model = EnumMessenger(first_available_dim=-2 - particles)(pair.guide), EnumMessenger()(pair.model)
    if particles:
        model, guide = (pyro.plate(PARTICLES, 3, dim=-2)(part) for part in (model, guide))
    seed_torch(0)
    with param_scope():
        model, guide = get_importance_trace("flat", 1 + particles, model, guide, args, {"total": None})
    guide.symbolize_dims()
    model.symbolize_dims(guide.plate_to_symbol)
    return model, guide


def _log_densities(
    pair: Pair,
    args: tuple[Tensor, ...],
    values: dict[str, Tensor],
    seed: int = 0,
    observed: dict[str, Tensor] | None = None,
) -> dict[tuple[str, str], Tensor]:
    """Return the log-density by (part, site), where every latent has one value for each data point.

    The values are copied: a flow keeps the inverse of a value that it has drawn, which rounds in another way.

    :param observed: values of the observed sites of the model, in place of those that it states, which may have noise
    """
    densities: dict[tuple[str, str], Tensor] = {}
    values = {name: value.clone() for name, value in values.items()}
    for name in PARTS:
        seed_torch(seed)
        with param_scope():
            trace = poutine.trace(poutine.condition(getattr(pair, name), values)).get_trace(*args)
        for key in (observed or {}).keys() & trace.nodes.keys():
            trace.nodes[key]["value"] = (observed or {})[key]
        trace.compute_log_prob(lambda _, site: not site_is_subsample(site))
        densities |= {(name, key): site["log_prob"] for key, site in _sampled(trace)}
    return densities


def _rounding_errors(
    pair: Pair,
    args: tuple[Tensor, ...],
    values: dict[str, Tensor],
    exact: dict[tuple[str, str], Tensor],
    observed: dict[str, Tensor] | None = None,
) -> dict[tuple[str, str], Tensor]:
    """Return by how much log-densities change at most where values are rounded as by the sums of a matrix product.

    :param exact: the log-densities at the values
    """
    generator = torch.Generator().manual_seed(0)
    errors = {key: torch.zeros_like(of) for key, of in exact.items()}
    for _ in range(ROUNDINGS):
        rounded = {}
        for name, value in values.items():
            if value.is_floating_point():
                signs = torch.randn(value.shape, dtype=value.dtype, generator=generator).to(value.device)
                value = value * (1 + ROUNDING * torch.finfo(value.dtype).eps * signs)
            rounded[name] = value
        for key, of in _log_densities(pair, args, rounded, 0, observed).items():
            errors[key] = errors[key].maximum((of - exact[key]).abs())
    return errors


def _sampled(trace: poutine.Trace) -> list[tuple[str, Site]]:
    nodes: dict[str, Site] = trace.nodes
    return [(n, s) for n, s in nodes.items() if s["type"] == "sample" and not site_is_subsample(s)]


def _number_of_values(site: Site) -> int:
    return site["value"].shape[site["infer"]["_enumerate_dim"] - site["fn"].event_dim]


def _one_of(values: Tensor, site: Site, at: dict[Any, int], event_dim: int = 0) -> Tensor:
    """Return values of a site at one index of each dimension that has many, which keeps length 1.

    :param at: the index by the symbol of the dimension
    """
    for dim, symbol in site["infer"]["_dim_to_symbol"].items():
        axis = dim - event_dim
        if symbol in at and values.dim() >= -axis and values.shape[axis] > 1:
            values = values.narrow(axis, at[symbol], 1)
    return values


def _alone(value: Tensor, site: Site) -> Tensor:
    """Return a value without the dimensions left of the plate, all of length 1: (n, ...), or (...) of a global one."""
    plates = [frame for frame in site["cond_indep_stack"] if frame.vectorized and frame.dim == -1]
    own = value.shape[value.dim() - site["fn"].event_dim - bool(plates) :]
    return value.reshape(own).expand(plates[0].size, *own[1:]) if plates else value.reshape(own)


def _same(one: Tensor, other: Tensor, tolerance: float, errors: Tensor | float = -1.0) -> bool:
    """Return whether each log-density agrees with the other, or differs by no more than its error of rounding."""
    close = torch.isclose(one, other, tolerance, tolerance, equal_nan=True)
    return bool((close | ((one - other).abs() <= errors)).all())
