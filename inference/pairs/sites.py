"""Sites of a trace: which are latent, observed, local, flat, deterministic or enumerated."""

import pyro.distributions as dist
from pyro import poutine
from pyro.poutine.util import site_is_subsample


def latent_sites(trace: poutine.Trace) -> dict[str, dict]:
    """The sampled sites of a trace of a model or guide by name, without auxiliary and deterministic ones and plates."""
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not (site["is_observed"] or site_is_subsample(site) or _is_aside(site))
    }


def observed_sites(trace: poutine.Trace) -> dict[str, dict]:
    """The sites of data in a trace of a model, also of one run without them; factors and
    deterministic ones excepted."""
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample"
        and (site["is_observed"] or site["infer"].get("was_observed"))
        and not _is_aside(site)
    }


def _is_aside(site: dict) -> bool:
    return bool(site["infer"].get("is_auxiliary") or site["infer"].get("_deterministic"))


def enumerated_sites(model: poutine.Trace, guide: poutine.Trace) -> tuple[set[str], set[str]]:
    """Names of the sites that are enumerated: (in the guide, by the model alone)."""
    every = {name for name, site in latent_sites(model).items() if site["infer"].get("_enumerate_dim") is not None}
    return every & guide.nodes.keys(), every - guide.nodes.keys()


def children_of_enumerated(model: poutine.Trace, guide: poutine.Trace) -> set[str]:
    """Names of the guide's sites whose prior depends on one that the model alone sums out: no KL is theirs alone."""
    if not enumerated_sites(model, guide)[1]:
        return set()
    priors = {name: model.nodes[name]["fn"] for name in latent_sites(guide) if name in model.nodes}
    return {name for name, p in priors.items() if len(p.batch_shape) > len(guide.nodes[name]["fn"].batch_shape)}


def same_order(model: poutine.Trace, guide: poutine.Trace) -> bool:
    """Does the guide draw the latents in the order of the model? Elsewhere the prior of one may depend on another that
    the guide drew from it, and then E log q(z) / p(z) is no KL in closed form of q(z) and p(z)."""
    return list(latent_sites(guide)) == [name for name in latent_sites(model) if name in guide.nodes]


def is_local(site: dict) -> bool:
    """Does the site stand inside the plate "data"?"""
    return any(frame.name == "data" for frame in site["cond_indep_stack"])


def is_flat(site: dict) -> bool:
    """Is the density of the site masked out, as under the flat prior of a deterministic code?"""
    return site["mask"] is False or getattr(site["fn"], "_mask", None) is False


def is_delta(site: dict) -> bool:
    """Is the distribution of the site a point, a Delta without a density, under whatever wraps it?"""
    fn = site["fn"]
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return isinstance(fn, dist.Delta) and not fn.log_density.any()
