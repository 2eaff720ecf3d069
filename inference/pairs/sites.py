"""Classify the sites of a trace (latent, observed, local, flat, Delta, enumerated) and unwrap their distributions."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import pyro.distributions as dist
from pyro import poutine
from pyro.poutine.indep_messenger import CondIndepStackFrame
from pyro.poutine.util import site_is_subsample
from torch import distributions as torch_dist

__all__ = [
    "INDEPENDENT",
    "TRANSFORMED",
    "WRAPPERS",
    "Site",
    "children_of_enumerated",
    "enumerated_sites",
    "factor_sites",
    "independent_factors",
    "is_autoregressive",
    "is_delta",
    "is_flat",
    "is_local",
    "latent_sites",
    "layers",
    "observed_sites",
    "other_plate",
    "point_sites",
    "same_order",
    "unwrap",
]

# A dictionary. Pyro's own type, `Message`, gives `fn` as a callable, on which a type checker refuses `fn.log_prob`.
Site: TypeAlias = Any
INDEPENDENT = (torch_dist.Independent,)
WRAPPERS = (torch_dist.Independent, dist.ExpandedDistribution, dist.MaskedDistribution)
TRANSFORMED = (*WRAPPERS, torch_dist.TransformedDistribution)


def latent_sites(trace: poutine.Trace) -> dict[str, Site]:
    """Return the sampled sites of a trace of a model or guide by name, without auxiliary and deterministic sites and
    plates; under `uncondition` they include the sites of data."""
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not (site["is_observed"] or site_is_subsample(site) or _is_aside(site))
    }


def observed_sites(trace: poutine.Trace) -> dict[str, Site]:
    """Return the observed sites of a trace of a model by name, also of one under `uncondition`, without factors and
    deterministic sites."""
    nodes: dict[str, Site] = trace.nodes
    return {
        name: site
        for name, site in nodes.items()
        if site["type"] == "sample"
        and (site["is_observed"] or site["infer"].get("was_observed"))
        and not _is_aside(site)
    }


def factor_sites(trace: poutine.Trace) -> dict[str, Site]:
    """Return the factors of a trace of a model or guide by name: the terms that `pyro.factor` adds."""
    nodes: dict[str, Site] = trace.nodes
    return {name: site for name, site in nodes.items() if site["type"] == "sample" and _is_factor(site)}


def _is_factor(site: Site) -> bool:
    return bool(site["infer"].get("is_auxiliary")) and isinstance(unwrap(site["fn"]), dist.Unit)


def _is_aside(site: Site) -> bool:
    return bool(site["infer"].get("is_auxiliary") or site["infer"].get("_deterministic"))


def enumerated_sites(model: poutine.Trace, guide: poutine.Trace) -> tuple[set[str], set[str]]:
    """Return the names of the enumerated sites: (those in the guide, those of the model alone)."""
    every = {name for name, site in latent_sites(model).items() if site["infer"].get("_enumerate_dim") is not None}
    return every & guide.nodes.keys(), every - guide.nodes.keys()


def children_of_enumerated(model: poutine.Trace, guide: poutine.Trace) -> set[str]:
    """Return the names of the guide's sites whose prior depends on a site that the model alone enumerates: they have no
    KL of one site."""
    if not enumerated_sites(model, guide)[1]:
        return set()
    priors: dict[str, Site] = model.nodes
    return {
        name
        for name, q in latent_sites(guide).items()
        if name in priors and len(priors[name]["fn"].batch_shape) > len(q["fn"].batch_shape)
    }


def same_order(model: poutine.Trace, guide: poutine.Trace) -> bool:
    """Return whether the guide samples the latents in the order of the model.

    Elsewhere the prior of one latent may depend on another that the guide draws from it, and then E log q(z) / p(z) is
    not the KL of q(z) and p(z) in closed form.
    """
    return list(latent_sites(guide)) == [name for name in latent_sites(model) if name in guide.nodes]


def is_local(site: Site) -> bool:
    """Return whether the site is inside the plate "data"."""
    return any(frame.name == "data" for frame in site["cond_indep_stack"])


def other_plate(site: Site) -> CondIndepStackFrame | None:
    """Return the plate of another name than "data" that a global site stands in, such as one of items: the site then
    has a draw for each of them, along dimension -1 of its batch. None if it has one draw."""
    return next((f for f in site["cond_indep_stack"] if f.vectorized and f.dim == -1 and f.name != "data"), None)


def is_autoregressive(site: Site) -> bool:
    """Return whether the distribution of a site is an autoregressive flow: the density at a value that it did not draw
    takes one pass for each coordinate."""
    return any(getattr(part, "autoregressive", False) for part in getattr(site["fn"], "transforms", ()))


def is_flat(site: Site) -> bool:
    """Return whether the density of the site is masked out, as under the flat prior of a deterministic code."""
    return site["mask"] is False or getattr(site["fn"], "_mask", None) is False


def is_delta(site: Site) -> bool:
    """Return whether the distribution of the site is a Delta without a density, under any wrapper."""
    fn = unwrap(site["fn"], TRANSFORMED)
    return isinstance(fn, dist.Delta) and not fn.log_density.any()


def point_sites(guide: poutine.Trace) -> list[str]:
    """Return the latent sites of a guide that are points: Deltas without a density.

    None is if the guide draws auxiliary noise that has a density: as in an autoguide, its Deltas hold that draw.
    """
    nodes: list[Site] = [site for site in guide.nodes.values() if site["type"] == "sample" and not site["is_observed"]]
    noise = [site for site in nodes if site["infer"].get("is_auxiliary") and not (is_flat(site) or is_delta(site))]
    return [] if noise else [name for name, site in latent_sites(guide).items() if is_delta(site)]


def layers(fn: dist.TorchDistribution, wrappers: tuple[type, ...] = WRAPPERS) -> Iterator[dist.TorchDistribution]:
    """Yield a distribution, then the one within each of its wrappers, from the outside in.

    :param wrappers: the classes that are unwrapped
    """
    yield fn
    while isinstance(fn, wrappers):
        fn = fn.base_dist
        yield fn


def unwrap(fn: dist.TorchDistribution, wrappers: tuple[type, ...] = WRAPPERS) -> dist.TorchDistribution:
    """Return the distribution within its wrappers.

    >>> unwrap(dist.Normal(0.0, 1.0).expand([3]).to_event(1).mask(False))
    Normal(loc: torch.Size([3]), scale: torch.Size([3]))

    :param wrappers: the classes that are unwrapped: by default `Independent`, `ExpandedDistribution` and
        `MaskedDistribution`, which leave the family as it is; with TRANSFORMED also transforms
    """
    *_, base = layers(fn, wrappers)
    return base


def independent_factors(
    q: dist.TorchDistribution, p: dist.TorchDistribution
) -> tuple[dist.TorchDistribution, dist.TorchDistribution]:
    """Return q and p without the `Independent` wrappers that both have, so that their KL keeps the coordinates."""
    while isinstance(q, INDEPENDENT) and isinstance(p, INDEPENDENT):
        q, p = q.base_dist, p.base_dist
    return q, p
