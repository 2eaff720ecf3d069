"""Supports: the values of the data within those of their likelihood, the latents of the guide within their prior."""

import math

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import constraints

from inference.errors import InferenceError
from inference.pairs.handlers import SetRows
from inference.pairs.pair import Pair
from inference.pairs.properties import base_of, bijection_onto, has_one_support, name_of, support_of
from inference.pairs.run import eval_mode
from inference.pairs.sites import TRANSFORMED, Site, latent_sites, observed_sites, unwrap

__all__ = ["check_likelihoods", "check_supports", "impossible"]

CHECKED_ROWS = 1000  # that the model is run on together
OBSERVED_ROWS = 8  # whose observed values are compared with x


def _family(site: Site) -> str:
    return type(unwrap(site["fn"])).__name__


def check_likelihoods(pair: Pair, args: tuple[Tensor, ...], prior: poutine.Trace) -> None:
    """:raises InferenceError: if x has another shape than its site, or values outside the support of a likelihood"""
    x, sites = args[0], list(observed_sites(prior).values())
    expected = sites[0]["value"].shape[1:] if sites else x.shape[1:]
    if sites and sites[0]["name"] == "x" and x.shape[1:] != expected:
        flat = "Rows come flat: flatten the event, or observe a site x_1, x_2, ... for each time step."
        other = "Give this likelihood the width of the data, or choose other data."
        raise InferenceError(
            f"the likelihood of x in {type(pair).__name__} has rows of shape {tuple(expected)}, and the data have rows "
            f"of shape {tuple(x.shape[1:])}.",
            flat if expected.numel() == x.shape[1:].numel() else other,
        )
    supports = [support_of(site["fn"]) for site in sites]
    first, checked = supports[0] if supports else None, len(x)
    if first is not None and all(
        s is not None and has_one_support(s) and name_of(s) == name_of(first) for s in supports
    ):
        _check_values(sites[0], base_of(first), x)
        supports, checked = [], OBSERVED_ROWS
    for rows in torch.arange(len(x), device=x.device)[:checked].split(CHECKED_ROWS):
        part = tuple(a[rows] for a in args)
        with eval_mode(pair), pyro.validation_enabled(False), SetRows(rows):
            trace = poutine.trace(pair.model).get_trace(*part, total=len(x))
            again = poutine.trace(poutine.replay(pair.model, trace)).get_trace(*part, total=len(x))
        sites = list(observed_sites(trace).values())
        _check_observed(sites, list(observed_sites(again).values()), part[0])
        for site in sites if supports else ():  # each site and row in its own support
            if (support := support_of(site["fn"])) is not None:
                _check_values(site, support, site["value"])


def _check_observed(sites: list[Site], again: list[Site], x: Tensor) -> None:
    """Check the observed values of two runs with the same latents.

    Values with noise, such as the uniform noise of dequantisation, differ from x and from each other.

    :raises InferenceError: if observed sites have other values than x, where x is known, without noise
    """
    names = [site["name"] for site in sites]
    if not names or (names != ["x"] and not all(name.startswith("x_") for name in names)):
        return  # which `site_faults` names
    x = x.reshape(len(x), -1)
    beside, other = (torch.cat([site["value"].reshape(len(x), -1) for site in run], 1).to(x) for run in (sites, again))
    if beside.shape != x.shape:
        raise InferenceError(
            f"the observed sites have {beside.shape[1]} values of each data point, and the data {x.shape[1]}.",
            "Observe each column of x, or leave columns out of the data.",
        )
    noisy = (beside != other) & ~beside.isnan()
    if ((beside == x) | noisy | x.isnan()).all():
        return
    if len(sites) > 1:
        raise InferenceError("the observed sites x_1, x_2, ... are not the columns of x from left to right.")
    raise InferenceError(
        f"the likelihood of {names[0]} observes other values than x, so that its bound is not one on the data.",
        "Write obs=x, and transform the data before the fit.",
    )


def _check_values(site: Site, support: constraints.Constraint, value: Tensor) -> None:
    """:raises InferenceError: if a value is outside the support"""
    try:
        inside = support.check(value)
    except RuntimeError as error:  # of a support of indices
        raise InferenceError(
            f"{_family(site)} cannot score {site['name']} in {value.dtype}: {' '.join(str(error).split())[:100]}."
        ) from error
    if (missing := value.isnan()).any():  # of a pair that masks them
        inside, value = inside | missing.reshape(*inside.shape, -1).any(-1), value[~missing]
    if not inside.all():
        each = base_of(support).check(value)
        others = f"between {value.min():.3g} and {value.max():.3g}"
        if each.shape == value.shape:
            others = f"such as {value[~each][0]:.3g}"
        own = "" if has_one_support(support) else ", each within its own bounds"
        raise InferenceError(
            f"{_family(site)} needs values in {name_of(support)}{own}; {site['name']} has others, {others}.",
            "Choose data with such values, or another likelihood.",
        )


def impossible(name: str, support: str) -> str:
    """Return the message on a latent whose guide draws values outside the support of its prior, of that name."""
    return (
        f"the guide draws values of {name} that are impossible under its prior, whose support is {support}: the "
        "ELBO is minus infinity. Choose a guide with this support, or transform the draw."
    )


def check_supports(x: Tensor, prior: poutine.Trace, guide: poutine.Trace) -> None:
    """:raises InferenceError: if the support of a latent in the guide is not within that of its prior"""
    probes = x.new_tensor([-7.3, -2.3, -1.2, -0.6, 0.3, 0.7, 1.2, 2.3, 7.3], dtype=torch.float32)
    for name, site in latent_sites(guide).items():
        if name not in prior.nodes or isinstance(unwrap(site["fn"], TRANSFORMED), dist.Delta):
            continue  # the support of a Delta is the real numbers, wherever it is
        p: Site = prior.nodes[name]
        if (whole := _unmapped(p["fn"])) is not None and not whole.check(site["value"]).all():
            raise InferenceError(impossible(name, name_of(whole)))
        supports = [base_of(s) for s in (support_of(p["fn"]), support_of(site["fn"])) if s is not None]
        if len(supports) < 2:  # torch does not know one of them
            continue
        of_prior, of_guide = supports
        if of_prior.event_dim == of_guide.event_dim == 0 and not (of_prior.is_discrete or of_guide.is_discrete):
            at = probes.reshape(-1, *[1] * site["value"].dim())  # against the bounds of every row and coordinate
            try:
                outside = of_guide.check(at) & ~of_prior.check(at)
            except Exception:  # any error: a support of whole events that does not say so
                continue
            if outside.any():
                raise InferenceError(
                    f"the guide's {name} ~ {_family(site)} lives on {name_of(of_guide)}, its prior on "
                    f"{name_of(of_prior)} only: KL(guide || prior) is infinite and the ELBO minus infinity. Choose a "
                    f"guide within {name_of(of_prior)}."
                )
        if _is_periodic(p) and not (_is_periodic(site) or _within_a_turn(site, of_guide)):
            raise InferenceError(
                f"the prior of {name} ~ {_family(p)} is a density of an angle, the guide's {name} ~ {_family(site)} is "
                "none: the ELBO is no bound. Choose a guide of an angle, or one on an interval of length 2 pi."
            )


def _unmapped(fn: dist.TorchDistribution) -> constraints.Constraint | None:
    """Return a support of whole events that torch has no map onto, such as a sphere; densities do not check it."""
    support = support_of(fn)
    if support is None or constraints.is_dependent(support) or support.is_discrete or not base_of(support).event_dim:
        return None
    try:
        bijection_onto(fn, "")
    except InferenceError:
        return support
    return None


def _within_a_turn(site: Site, support: constraints.Constraint) -> bool:
    """Return whether no angle comes twice in a support, or it is that of a transform, which torch calls real."""
    if isinstance(unwrap(site["fn"]), dist.TransformedDistribution):
        return True
    ends = (getattr(support, name, math.inf) for name in ("lower_bound", "upper_bound"))
    low, high = (torch.as_tensor(end) for end in ends)
    return bool((low.isfinite() & high.isfinite() & (high - low <= 2 * math.pi + 1e-6)).all())


def _is_periodic(site: Site) -> bool:
    """Return whether the density of a site repeats with the angle, as far as its draw shows, and is not constant."""
    fn, value = site["fn"], site["value"].detach()
    if not value.is_floating_point():
        return False
    try:
        with torch.no_grad(), pyro.validation_enabled(False):
            here, turned, moved = (fn.log_prob(value + by).double() for by in (0.0, 2 * math.pi, 1.0))
    except Exception:  # any error: a family without a density, or with one at its own draws alone
        return False
    return torch.allclose(here, turned, atol=1e-3) and not torch.allclose(here, moved, atol=1e-1)
