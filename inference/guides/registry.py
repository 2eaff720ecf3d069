"""Guides by name that replace the guide of a pair; the model stays.

    pair = with_guide(pair, "multivariate", x)     # a new pair, for these data
    for step, loss in SVI(pair, x): ...
    pair = finish(pair, x)                         # completes laplace and semi_amortised after the fit

Most have free parameters, for each data point or for all together (`families.py`), and do not apply to data they were
not fitted to. `semi_amortised` keeps the model's own guide and refines it at any data point (`semi_amortised.py`).
"""

import copy
import difflib
from functools import partial
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from inference.errors import InferenceError
from inference.guides.after_fit import after_fit, register_after_fit
from inference.guides.families import FLOW_COUPLINGS, FreeGuide, Latent
from inference.guides.laplace import laplace
from inference.guides.semi_amortised import check_amortised, semi_amortised
from inference.pairs.pair import Pair
from inference.pairs.properties import bijection_onto, is_discrete, support_of
from inference.pairs.run import arguments, cuda_devices, eval_mode, log_joint
from inference.pairs.sites import Site, is_flat, is_local, latent_sites, observed_sites, other_plate

__all__ = ["GUIDES", "finish", "parse_guide", "with_guide"]

REFINEMENT_STEPS = 10  # of semi_amortised
MOST_STEPS = 10_000  # of semi:STEPS
INSPECTED_ROWS = 1000  # of the data, for the shapes and supports of the latents
LAPLACE_ROWS = 1000  # whose modes are computed together: bounds the memory

GUIDES: dict[str, str] = {
    "own": "the model's guide",
    "delta": "a point, the maximum a posteriori: no bound",
    "normal": "mean field: a normal for every coordinate",
    "multivariate": "a normal of full covariance over all coordinates",
    "low_rank": "for every latent of d coordinates a normal of covariance diagonal + rank sqrt(d)",
    "flow": f"normal, transformed by {FLOW_COUPLINGS} affine couplings that all data points share",
    "laplace": "the normal with the mode of the posterior and its curvature there",
    "semi_amortised": f"the model's guide, in evaluation refined by {REFINEMENT_STEPS} gradient steps a data point",
    "semi:STEPS": "the same with STEPS",
}
"""The guides that `with_guide` knows, by name, each with one line of help."""


def parse_guide(name: str) -> tuple[str, int]:
    """Return (family, gradient steps in evaluation) of a name, such as "semi:5" for "semi:STEPS".

    >>> parse_guide("semi:5")
    ('semi_amortised', 5)

    :raises InferenceError: if there is no guide of that name, or STEPS is not a whole number from 1 on
    """
    head, _, steps = name.partition(":")
    if head == "semi":
        if not steps.isdecimal() or int(steps) < 1:
            raise InferenceError(f"guide {name!r}: STEPS must be a whole number from 1 on, as in semi:5.")
        if len(steps) > 9 or int(steps) > MOST_STEPS:
            raise InferenceError(f"guide {name[:40]!r}: STEPS must be at most {MOST_STEPS}.")
        return "semi_amortised", int(steps)
    if name not in GUIDES:
        similar = difflib.get_close_matches(name, GUIDES, n=1)
        hint = f" Did you mean {similar[0]!r}?" if similar else ""
        raise InferenceError(f"there is no guide {name!r}.{hint} Choose one of {', '.join(GUIDES)}.")
    return name, REFINEMENT_STEPS if name == "semi_amortised" else 0


def with_guide(pair: Pair, name: str, x: Tensor, given: Tensor | None = None) -> Pair:
    """Return a deep copy of the pair with the guide called `name` for these data.

    The model starts at the weights of `pair`. A fit of the copy updates model and guide, and `SVI` with only="guide"
    updates the guide alone. The copy keeps the closed forms of the model, such as `log_evidence`. The new guide is
    initialised from torch's generator. It replaces the guide of `pair`; only `semi_amortised` refines that guide.

    Kim, Wiseman, Miller, Sontag and Rush, Semi-amortized variational autoencoders, 2018 (`semi_amortised`).

    >>> from inference.examples import LinearGaussian
    >>> pair = with_guide(LinearGaussian(), "normal", torch.zeros(5, 1))
    >>> pair.free_guide.q["z"]["loc"].shape
    torch.Size([5, 1])

    :param name: a key of `GUIDES`, with a number in place of STEPS
    :param x: (n, ...) all the data to be fitted, in their order
    :param given: (n, ...) what a conditional model conditions on
    :raises InferenceError: if there is no guide of that name, or it does not apply to the model
    """
    kind, steps = parse_guide(name)
    new: Any = copy.deepcopy(pair)  # Any: its guide is replaced
    args, model = arguments(pair, x, given), type(pair).__name__
    if kind == "own":
        return new
    register_after_fit(new, None)
    if kind == "semi_amortised":
        check_amortised(new, args)
        register_after_fit(new, partial(semi_amortised, steps))
    else:
        latents = _latents(pair, args)
        if kind == "flow" and all(latent.size == 1 for latent in latents):
            raise InferenceError(
                f"the latents of {model} have one coordinate each; the flow's couplings need two.",
                ("guides", "normal"),
            )
        if kind == "laplace" and (plated := [latent.name for latent in latents if latent.plate is not None]):
            raise InferenceError(
                f"{model} has {', '.join(plated)} in a plate of items, and laplace is for one normal of all latents.",
                ("guides", "normal"),
            )
        if kind == "laplace" and len({latent.local for latent in latents}) > 1:
            raise InferenceError(
                f"{model} has local latents and global latents, and laplace is for one of the two kinds.",
                ("guides", "normal"),
            )
        new.free_guide = FreeGuide(kind, latents, len(x), x)
        new.guide = new.free_guide.forward
        if kind == "laplace":
            register_after_fit(new, _laplace)
    return new


def _latents(pair: Pair, args: tuple[Tensor, ...]) -> list[Latent]:
    """Return the latents of a model, all of which a family can replace.

    :raises InferenceError: if there is none, or one is discrete, flat, of a sequence, or in another plate
    """
    with eval_mode(pair):
        model = poutine.trace(pair.model).get_trace(*(a[:INSPECTED_ROWS] for a in args))
    sites, steps = latent_sites(model), len(observed_sites(model))
    discrete = [name for name, site in sites.items() if is_discrete(site["fn"])]
    flat = [name for name, site in sites.items() if is_flat(site)]
    others = [name for name, site in sites.items() if not _has_one_plate(site)]
    for wrong, reason in (
        (discrete, f"sums out {', '.join(discrete)}, which is discrete"),
        (flat, f"has a flat prior of {', '.join(flat)}, which then has no posterior"),
        (steps > 1, f"is a sequence of {steps} steps, with latents at each"),
        (others, f"has {', '.join(others)} in more plates than one"),
        (not sites, "has no latent"),
    ):
        if wrong:
            raise InferenceError(
                f"{type(pair).__name__} {reason}: guides by name are for continuous latents, local or global.",
                ("guides", "own"),
            )
    latents = []
    for name, site in sites.items():
        fn = site["fn"]
        u, frame = bijection_onto(fn, name).inv(site["value"]), other_plate(site)
        plate = None if frame is None else (frame.name, frame.size)
        latents.append(Latent(name, is_local(site), _support(site), u.shape[len(fn.batch_shape) :], plate))
    return latents


def _has_one_plate(site: Site) -> bool:
    """Return whether the site stands in no plate but that of the data, or in another one outside it."""
    plates = len(site["cond_indep_stack"])
    return plates == is_local(site) or (plates == 1 and other_plate(site) is not None)


def _support(site: Site) -> Constraint:
    """Return the support of a latent, with one bound if it is the same for every data point, or item of a plate.

    :raises InferenceError: if it differs between them
    """
    support = support_of(site["fn"])
    assert support is not None  # as the bijection onto it is known
    base = getattr(support, "base_constraint", support)
    repeated = is_local(site) or other_plate(site) is not None
    bounds = {k: b for k, b in vars(base).items() if repeated and torch.is_tensor(b) and b.dim()}
    if not bounds:
        return support
    if any((bound != bound[:1]).any() for bound in bounds.values()):
        of = "data points" if is_local(site) else "items of its plate"
        raise InferenceError(f"the support of {site['name']} is not the same for all {of}.", ("guides", "own"))
    base = copy.copy(base)
    vars(base).update({name: bound[:1] for name, bound in bounds.items()})
    return constraints.independent(base, support.event_dim - base.event_dim)


def finish(pair: Pair, x: Tensor, given: Tensor | None = None) -> Pair:
    """Return the pair to evaluate, after a fit of a pair that `with_guide` returned.

    After `laplace` its guide is a normal at the mode of each posterior, which an optimiser finds from the end of the
    fit. After `semi_amortised` its guide refines the guide of the pair in evaluation mode, for any data. Any other pair
    is returned as it is.

    >>> from inference.examples import LinearGaussian
    >>> x = torch.zeros(5, 1)
    >>> pair = finish(with_guide(LinearGaussian(), "laplace", x), x)
    >>> pair.free_guide.family, finish(pair, x) is pair
    ('multivariate', True)

    :param x: (n, ...) the data of the fit
    :param given: (n, ...) what a conditional model conditions on
    :raises InferenceError: if a posterior is not curved at its mode, or `laplace` was fitted to other data
    """
    step = after_fit(pair)
    if step is None:
        return pair
    new = step(pair, x, given)
    register_after_fit(new, None)
    return new


def _laplace(pair: Pair, x: Tensor, given: Tensor | None) -> Pair:
    """Return the pair with the normal of the mode and curvature of each posterior as its guide."""
    latents, n = pair.free_guide.latents, pair.free_guide.n
    if len(x) != n:
        raise InferenceError(
            f"laplace was fitted to {n} data points; got {len(x)}.", "Finish it with the data of its fit."
        )
    with eval_mode(pair, seed=None), pyro.validation_enabled(False):  # an invalid step is undone, not an error
        start = torch.cat([pair.free_guide.q[latent.name]["loc"].detach() for latent in latents], dim=-1)
        args = arguments(pair, x, given)
        if latents[0].local:
            parts = [
                laplace(partial(_log_density, pair, tuple(a[rows] for a in args)), start[rows])
                for rows in torch.arange(n, device=x.device).split(LAPLACE_ROWS)
            ]
            m, L = (torch.cat(part) for part in zip(*parts, strict=True))
        else:
            m, L = (value.squeeze(0) for value in laplace(partial(_log_density, pair, args), start.unsqueeze(0)))
    with torch.random.fork_rng(cuda_devices(pair)):  # its random start is overwritten
        new = with_guide(pair, "multivariate", x, given)
    new.free_guide.set_normal(m, L)
    return new


def _log_density(pair: Pair, args: tuple[Tensor, ...], u: Tensor) -> Tensor:
    """Compute log p(x, u), (b,) in nats, of all latents, (b, d); b is the number of data points, 1 if global."""
    latents, values, volume = pair.free_guide.latents, {}, u.new_zeros(len(u))
    for latent, part in zip(latents, u.split([latent.size for latent in latents], dim=-1), strict=True):
        values[latent.name], log_volume = latent.value(part)
        volume = volume + log_volume
    if latents[0].local:
        prior, likelihood = log_joint(pair, args, values)
        return prior + likelihood + volume
    model = poutine.condition(pair.model, {name: value.squeeze(0) for name, value in values.items()})
    return (poutine.trace(model).get_trace(*args).log_prob_sum() + volume).reshape(1)
