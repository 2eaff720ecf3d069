"""Guides by name, in the place of a model's own: the model stays, what stands for p(z | x) is exchanged.

    pair = with_guide(pair, "multivariate", x)     # a new pair, for these data
    for step, loss in SVI(pair, x): ...
    pair = finish(pair, x)                         # what laplace and semi_amortised do after the fit

Most have free parameters, for each datum or for all together (`families.py`), and know nothing of data they were not
fitted to. `semi_amortised` keeps the model's own guide and refines what it says of any datum (`semi_amortised.py`).
"""

import copy
import difflib
from functools import partial

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import biject_to, constraints
from torch.distributions.constraints import Constraint

from inference.errors import InferenceError
from inference.guides.families import COUPLINGS, FreeGuide, Latent
from inference.guides.laplace import laplace
from inference.guides.semi_amortised import check_amortised, semi_amortised
from inference.pairs.run import arguments, cuda_devices, eval_mode, log_joint
from inference.pairs.sites import is_flat, is_local, latent_sites, observed_sites

STEPS = 10  # of semi_amortised
FEW = 1000  # data that the model is looked at with, and whose modes are sought together

GUIDES: dict[str, str] = {
    "own": "the model's own",
    "delta": "a point, the maximum a posteriori: no bound",
    "normal": "mean field: a normal for every coordinate",
    "multivariate": "a normal of full covariance over all coordinates",
    "low_rank": "for every latent of d coordinates a normal of covariance diagonal + rank sqrt(d)",
    "flow": f"normal, bent by {COUPLINGS} affine couplings that all data share",
    "laplace": "the normal that has the mode of the posterior and its curvature there",
    "semi_amortised": f"the model's own, in evaluation refined for each datum by {STEPS} gradient steps",
    "semi:STEPS": "the same with STEPS",
}


def parse_guide(name: str) -> tuple[str, int]:
    """(family, gradient steps in evaluation) of a name, such as "semi:5" for "semi:STEPS".

    :raises InferenceError: if there is none of that name, or STEPS is not a whole number from 1 on
    """
    head, _, steps = name.partition(":")
    if head == "semi":
        if not steps.isdecimal() or int(steps) < 1:
            raise InferenceError(f"guide {name!r}: STEPS is a whole number from 1 on, as in semi:5.")
        return "semi_amortised", int(steps)
    if name not in GUIDES:
        near = difflib.get_close_matches(name, GUIDES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InferenceError(f"there is no guide {name!r}.{hint} It is one of {', '.join(GUIDES)}.")
    return name, STEPS if name == "semi_amortised" else 0


def with_guide(pair: nn.Module, name: str, x: Tensor, given: Tensor | None = None) -> nn.Module:
    """A new pair: a deep copy of this one, which shares nothing with it, with the guide of that name for these data.

    Weights of the model start where those of `pair` are, and are fitted with the guide unless `SVI` is told "guide"
    only. What the model knows exactly it still says. Its own guide stays within, fitted by `semi_amortised` alone. The
    start of a guide is drawn from torch's generator.

    :param x: (n, ...) all the data that are to be fitted, in their order
    :raises InferenceError: if there is no guide of that name, or it does not apply to the model
    """
    kind, steps = parse_guide(name)
    new, args, model = copy.deepcopy(pair), arguments(pair, x, given), type(pair).__name__
    if kind == "own":
        return new
    new.unfinished = None
    if kind == "semi_amortised":
        check_amortised(new, args)
        new.unfinished = partial(semi_amortised, steps)
    else:
        latents = _latents(pair, args)
        if kind == "flow" and all(latent.size == 1 for latent in latents):
            raise InferenceError(f"the latents of {model} are one number each, and couplings need two: use normal.")
        if kind == "laplace" and len({latent.local for latent in latents}) > 1:
            raise InferenceError(
                f"{model} has latents of a datum and latents of all data, laplace takes one: use normal."
            )
        new.free_guide = FreeGuide(kind, latents, len(x), x)
        new.guide = new.free_guide.forward
        if kind == "laplace":
            new.unfinished = _laplace
    return new


def _latents(pair: nn.Module, args: tuple) -> list[Latent]:
    """The latents of a model that a family may stand for.

    :raises InferenceError: if there is none, or one is discrete, flat, of a sequence, or in a plate of its own
    """
    with eval_mode(pair):
        model = poutine.trace(pair.model).get_trace(*(a[:FEW] for a in args))
    sites, steps = latent_sites(model), len(observed_sites(model))
    discrete = [name for name, site in sites.items() if site["fn"].support.is_discrete]
    flat = [name for name, site in sites.items() if is_flat(site)]
    others = [name for name, site in sites.items() if any(frame.name != "data" for frame in site["cond_indep_stack"])]
    for wrong, reason in (
        (discrete, f"sums out {', '.join(discrete)}, which is discrete"),
        (flat, f"has a flat prior of {', '.join(flat)}, a code that has no posterior"),
        (steps > 1, f"is a sequence of {steps} steps, with latents at each"),
        (others, f"has {', '.join(others)} in another plate than that of the data"),
        (not sites, "has no latent"),
    ):
        if wrong:
            raise InferenceError(
                f"{type(pair).__name__} {reason}: guides by name are for continuous latents of a datum or of all data. "
                "Use its own."
            )
    found = []
    for name, site in sites.items():
        fn = site["fn"]
        u = biject_to(fn.support).inv(site["value"])
        found.append(Latent(name, is_local(site), _support(site), u.shape[len(fn.batch_shape) :]))
    return found


def _support(site: dict) -> Constraint:
    """The support of a latent, with one bound where there is the same for every datum.

    :raises InferenceError: if data differ in it
    """
    support = site["fn"].support
    base = getattr(support, "base_constraint", support)
    bounds = {k: b for k, b in vars(base).items() if is_local(site) and torch.is_tensor(b) and b.dim()}
    if not bounds:
        return support
    if any((bound != bound[:1]).any() for bound in bounds.values()):
        raise InferenceError(f"the support of {site['name']} is not the same for all data: use the model's own guide.")
    base = copy.copy(base)
    vars(base).update({name: bound[:1] for name, bound in bounds.items()})
    return constraints.independent(base, support.event_dim - base.event_dim)


def finish(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> nn.Module:
    """The pair that is to be judged after a fit of `with_guide`: a new one where there is something left to do, else
    `pair` itself.

    Of `laplace` the guide becomes normal around the mode of each posterior, sought from where the fit ended; that of
    `semi_amortised` becomes one that refines, for any data, in evaluation mode.

    :raises InferenceError: if a posterior is not curved where its mode should be
    """
    last = getattr(pair, "unfinished", None)
    if last is None:
        return pair
    new = last(pair, x, given)
    new.unfinished = None
    return new


def _laplace(pair: nn.Module, x: Tensor, given: Tensor | None) -> nn.Module:
    latents, n = pair.free_guide.latents, pair.free_guide.n
    if len(x) != n:
        raise InferenceError(f"laplace was fitted to {n} data: finish it with them, and not with {len(x)} others.")
    with eval_mode(pair, seed=None), pyro.validation_enabled(False):  # a step too far is taken back, not refused
        start = torch.cat([pair.free_guide.q[latent.name]["loc"].detach() for latent in latents], dim=-1)
        args = arguments(pair, x, given)
        if latents[0].local:
            parts = [
                laplace(partial(_log_density, pair, tuple(a[rows] for a in args)), start[rows])
                for rows in torch.arange(n, device=x.device).split(FEW)
            ]
            m, L = (torch.cat(part) for part in zip(*parts, strict=True))
        else:
            m, L = (value.squeeze(0) for value in laplace(partial(_log_density, pair, args), start.unsqueeze(0)))
    with torch.random.fork_rng(cuda_devices(pair)):  # of its start nothing stays
        new = with_guide(pair, "multivariate", x, given)
    new.free_guide.set_normal(m, L)
    return new


def _log_density(pair: nn.Module, args: tuple, u: Tensor) -> Tensor:
    """log p(x, u), (b,) in nats, of all latents, (b, d): b is the number of data, or 1 where latents are global."""
    latents, values, volume = pair.free_guide.latents, {}, 0.0
    for latent, part in zip(latents, u.split([latent.size for latent in latents], dim=-1), strict=True):
        values[latent.name], log_volume = latent.value(part)
        volume = volume + log_volume
    if latents[0].local:
        return sum(log_joint(pair, args, values)) + volume
    model = poutine.condition(pair.model, {name: value.squeeze(0) for name, value in values.items()})
    return (poutine.trace(model).get_trace(*args).log_prob_sum() + volume).reshape(1)
