"""Test what a pair must not do: let the model compute from the values of x, let the guide depend on the place of a row
in the minibatch, or seed torch."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import Distribution, Transform

from inference.pairs.checks import BY_ROWS
from inference.pairs.handlers import SetRows
from inference.pairs.pair import Pair
from inference.pairs.run import clear_caches, cuda_devices, param_scope, same_buffers
from inference.pairs.sites import Site, is_delta, is_local, latent_sites, unwrap
from inference.pairs.streams import seed_torch

__all__ = [
    "FROM_PLACE",
    "FROM_X",
    "NUDGE",
    "RESTARTED",
    "distribution_tensors",
    "nudged_weights",
    "restarted_part",
    "site_from_place",
    "site_from_x",
]

FROM_X = (
    "the model computes {} from the values of x, which are zeros when data are drawn. Compute it from latents, from "
    "`given`, or from the value that pyro.sample returns."
)

RESTARTED = "{} seeds torch's generator, so that every step has the same noise. Remove the seed: `fit` has one."

FROM_PLACE = "{} of the guide depends on the place of a data point in the minibatch. " + BY_ROWS

NUDGE = 1e-2  # standard deviation of what is added to the weights: a weight that starts at 0 hides what it multiplies


def site_from_x(pair: Pair, args: tuple[Tensor, ...]) -> str | None:
    """Return the first site of the model whose distribution depends on the values of the argument x; None without one.

    The model without data is run twice, in the mode that the pair is in and with the same noise: with x, and with
    zeros in its place, or zeros and ones if x is zero. In training mode its latents are draws of the guide. Weights,
    buffers and random generators are left as they were. A model that cannot be run on both has no such site.

    :param args: (x,) or (x, given), (n, ...) each, of a few rows
    """
    x, *given = args
    other = torch.zeros_like(x)
    if not x.any():
        other.view(-1)[::2] = 1
    for nudge in (NUDGE, 0.0):
        with (
            torch.no_grad(),
            torch.random.fork_rng(cuda_devices(pair)),
            same_buffers(pair),
            pyro.validation_enabled(False),
            SetRows(torch.arange(len(x), device=x.device)),
            nudged_weights(pair, nudge),
        ):
            try:
                free = poutine.uncondition(pair.model)
                if pair.training:  # a model may take there from its guide what it computes itself in evaluation mode
                    free = poutine.replay(free, _trace(pair, pair.guide, args))
                one = _trace(pair, free, args)
            except Exception:  # any error of the user's code: weights beside their own may be impossible
                continue
            try:
                name = _first_different(one, _trace(pair, free, (other, *given)))
            except Exception:  # any error of the user's code
                return None
            if name is not None and _first_different(one, _trace(pair, free, args)) is not None:
                return None  # it draws noise from another generator, or keeps a state
            return name
    return None


def site_from_place(pair: Pair, args: tuple[Tensor, ...]) -> str | None:
    """Return the first local latent of the guide if its distribution at a data point depends on the place of the row in
    the minibatch; else None.

    Log-densities of the same values are compared in two orders of the rows, and in one order with other noise: those
    that change with the noise, or from call to call, are no sign. A point has no density, and is not compared.

    :param args: (x,) or (x, given), (n, ...) each, of a few rows
    """
    try:
        name = _differing_site(pair, args)
        if name is not None:
            with suppress(Exception):  # where the pair can be run in float64, it is not the rounding of float32
                double = tuple(a.double() if a.is_floating_point() else a for a in args)
                name = _differing_site(copy.deepcopy(pair).double(), double)
        return name
    except Exception:  # any error of the user's code: weights beside its own may be impossible
        return None


def _differing_site(pair: Pair, args: tuple[Tensor, ...]) -> str | None:
    """Return the first latent whose density depends on the order of the rows, and on nothing else."""
    n = len(args[0])
    forth = torch.arange(n, device=args[0].device)
    with (
        torch.no_grad(),
        torch.random.fork_rng(cuda_devices(pair)),
        same_buffers(pair),
        pyro.validation_enabled(False),
        nudged_weights(pair, NUDGE),
    ):
        with SetRows(forth):
            sites = latent_sites(_trace(pair, pair.guide, args))
        local = {name: site for name, site in sites.items() if is_local(site) and not is_delta(site)}
        values = {name: site["value"] for name, site in local.items() if _has_one_row_each(site["value"], n)}
        densities = []
        for order, noise in ((forth, 0), (forth, 1), (forth.flip(0), 0), (forth, 1)):
            with SetRows(order):
                at = poutine.condition(pair.guide, {name: value[order] for name, value in values.items()})
                found: dict[str, Site] = _trace(pair, at, tuple(a[order] for a in args), noise).nodes
            log_q = {name: found[name]["fn"].log_prob(value[order]) for name, value in values.items()}
            densities.append({name: of[order] for name, of in log_q.items() if of.shape == (n,)})
    first, *others = densities
    for name, log_q in first.items():
        if [name in of and torch.allclose(log_q, of[name], 1e-3, 1e-3) for of in others] == [True, False, True]:
            return name
    return None


def _has_one_row_each(value: Tensor, n: int) -> bool:
    """Whether the first dimension alone has n entries; a second one would be the minibatch inside the event."""
    return value.dim() > 0 and value.shape[0] == n and (value.dim() == 1 or value.shape[1] != n)


def restarted_part(pair: Pair, args: tuple[Tensor, ...]) -> str | None:
    """Return which of model and guide seeds torch's generator, "model" or "guide"; None if neither does.

    :param args: (x,) or (x, given), (n, ...) each, of a few rows
    """
    for name, part in (("model", pair.model), ("guide", pair.guide)):
        states = []
        for seed in (0, 1):
            with (
                torch.no_grad(),
                torch.random.fork_rng(cuda_devices(pair)),
                same_buffers(pair),
                suppress(Exception),  # any error of the user's code
                SetRows(torch.arange(len(args[0]), device=args[0].device)),
            ):
                seed_torch(seed)
                try:
                    with param_scope():
                        poutine.trace(part).get_trace(*args)
                finally:
                    states.append(torch.get_rng_state())
        if torch.equal(*states):
            return name
    return None


def _trace(pair: Pair, part: Any, args: tuple[Tensor, ...], seed: int = 0) -> poutine.Trace:
    seed_torch(seed)
    clear_caches(pair)
    with param_scope():
        return poutine.trace(part).get_trace(*args)


@contextmanager
def nudged_weights(pair: Pair, scale: float = NUDGE) -> Iterator[None]:
    """Add the same noise of this scale to the weights in each call, and restore them on exit."""
    generator = torch.Generator().manual_seed(0)
    weights = [p.data for p in pair.parameters() if p.is_floating_point()] if scale else []
    before = [weight.clone() for weight in weights]
    for weight in weights:
        rows = [weight.shape[0], *[1] * (weight.dim() - 1)] if weight.dim() > 1 else []
        for shape in (rows, weight.shape[-1:]):  # a number for each row and one for each column: fast if it is large
            weight.add_(torch.randn(shape, generator=generator, dtype=weight.dtype).to(weight.device), alpha=scale)
    try:
        yield
    finally:
        for weight, value in zip(weights, before, strict=True):
            weight.copy_(value)


def _first_different(one: poutine.Trace, two: poutine.Trace) -> str | None:
    """Return the name of the first sampled site of the first trace that is another in the second; factors are left."""
    for name, site in one.nodes.items():
        if site["type"] != "sample" or site_is_subsample(site) or _is_fixed(site):
            continue
        before, after = (_content(trace.nodes.get(name)) for trace in (one, two))
        if before.keys() != after.keys() or not all(_same(value, after[key]) for key, value in before.items()):
            return name
    return None


def _is_fixed(site: Site) -> bool:
    return site["is_observed"] or bool(site["infer"].get("is_auxiliary") or site["infer"].get("_deterministic"))


def _content(site: Site | None) -> dict[str, Tensor]:
    """Return value, log-density and parameters of a site, without its mask: what is left out may depend on x."""
    if site is None:
        return {}
    content = {"value": site["value"]} | distribution_tensors(site["fn"])
    if len(content) == 1:  # a distribution that keeps its parameters elsewhere
        with suppress(NotImplementedError, RuntimeError, ValueError):
            content["log_prob"] = unwrap(site["fn"]).log_prob(site["value"])
    return content


def _same(one: Tensor, two: Tensor) -> bool:
    return one.shape == two.shape and torch.equal(one.nan_to_num(), two.nan_to_num())


def distribution_tensors(fn: Distribution | Transform) -> dict[str, Tensor]:
    """Return the parameters of a distribution by name, those of wrapped distributions and transforms included."""
    found: dict[str, Tensor] = {}
    for name, value in vars(fn).items():
        if isinstance(value, Distribution):
            found |= distribution_tensors(value)
        elif name == "transforms":
            for transform in value:
                inner = distribution_tensors(transform)
                found |= {f"{key} of {type(transform).__name__}": of for key, of in inner.items()}
        elif isinstance(value, Tensor) and not name.startswith("_"):
            found[name] = value
    return found
