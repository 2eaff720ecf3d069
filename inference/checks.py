"""Is there sense in fitting this pair to these data? Asked once, before the first step, in words."""

import math

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import constraints

from .pairs import (
    InferenceError,
    arguments,
    importance_traces,
    is_point,
    judging,
    latent_sites,
    observed_sites,
    own_store,
)

_NAMES = [
    (constraints.boolean, "{0, 1}"),
    (constraints.unit_interval, "[0, 1]"),
    (constraints.nonnegative, "[0, inf)"),
    (constraints.positive, "(0, inf)"),
    (constraints.real, "the real numbers"),
    (constraints.one_hot, "one-hot rows"),
]


def _words(support: constraints.Constraint) -> str:
    support = getattr(support, "base_constraint", support)
    return next((words for known, words in _NAMES if support == known), str(support))


def _family(site: dict) -> str:
    fn = site["fn"]
    while isinstance(fn, dist.Independent | dist.MaskedDistribution):
        fn = fn.base_dist
    return type(fn).__name__


def check_fit(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> None:
    """Raises InferenceError where data and pair cannot go together.

    Checked: all the data against the support of the likelihood and the `bounds` of the pair, classes against the number
    of them, covariates against their width (`given_dim`), data against those that a guide has parameters for (`total`),
    and for every latent site that the guide's support lies within the prior's: where it does not, the KL is infinite.
    Some points are asked, so a guide that is too wide by little may pass.
    """
    if len(x) == 0:
        raise InferenceError("there are no data: x has no rows.")
    if not torch.isfinite(x).all():
        raise InferenceError("x has values that are not finite: remove or replace them.")
    low, high = getattr(pair, "bounds", (-math.inf, math.inf))
    least, greatest = x.min().item(), x.max().item()
    if least < low or greatest > high:
        raise InferenceError(
            f"{type(pair).__name__} expects values in [{low:g}, {high:g}]; x has others, between {least:.3g} and "
            f"{greatest:.3g}: rescale them."
        )
    args = arguments(pair, x, given)
    classes = getattr(pair, "classes", None)
    if len(args) > 1 and classes is not None:
        low, high, missing = given.min().item(), given.max().item(), getattr(pair, "missing", 0)
        if given.is_floating_point() or low < missing or high >= classes:
            gaps = f", or {missing} where one is missing" if missing < 0 else ""
            raise InferenceError(
                f"labels must be integers from 0 to {classes - 1}{gaps}, and these go from {low} to {high}."
            )
    width, total = getattr(pair, "given_dim", None), getattr(pair, "total", None)
    if len(args) > 1 and width is not None and given.shape[1:] != (width,):
        other = "labels" if given.dim() == 1 else f"{given.shape[1]} of them"
        raise InferenceError(
            f"{type(pair).__name__} conditions on {width} covariates of each datum, and these are {other}: choose data "
            "with as many covariates."
        )
    if isinstance(total, int) and total != len(x):
        raise InferenceError(
            f"{type(pair).__name__} has parameters for {total} data, each its own, and here are {len(x)}: build it for "
            f"total={len(x)}."
        )
    with judging(pair):
        few = tuple(a[:2] for a in args)
        try:
            prior = poutine.trace(poutine.uncondition(pair.model)).get_trace(*few)
        except ValueError as error:
            raise InferenceError(f"{type(pair).__name__} refuses these data: {' '.join(str(error).split())}") from error
    data = list(observed_sites(prior).values())  # x, or x_1, x_2, ...: parts of x with one likelihood
    if data:
        site = data[0]
        if site["name"] == "x" and x.shape[1:] != site["value"].shape[1:]:
            raise InferenceError(
                f"{type(pair).__name__} expects rows of shape {tuple(site['value'].shape[1:])} and x has rows of "
                f"shape {tuple(x.shape[1:])}."
            )
        support = getattr(site["fn"].support, "base_constraint", site["fn"].support)
        if not support.check(x).all():
            raise InferenceError(
                f"{_family(site)} needs values in {_words(support)}; x has others, between {least:.3g} "
                f"and {greatest:.3g}."
            )
    with judging(pair):
        guide = poutine.trace(pair.guide).get_trace(*few)
    probes = x.new_tensor([-7.3, -2.3, -1.2, -0.6, 0.3, 0.7, 1.2, 2.3, 7.3], dtype=torch.float32)
    for name, site in latent_sites(guide).items():
        if name not in prior.nodes or is_point(site):  # the support of a point is all real numbers, wherever it is
            continue
        supports = (prior.nodes[name]["fn"].support, site["fn"].support)
        of_prior, of_guide = (getattr(support, "base_constraint", support) for support in supports)
        if of_prior.event_dim == of_guide.event_dim == 0 and not (of_prior.is_discrete or of_guide.is_discrete):
            at = probes.reshape(-1, *[1] * site["value"].dim())  # against bounds of every datum and coordinate
            outside = of_guide.check(at) & ~of_prior.check(at)
            if outside.any():
                raise InferenceError(
                    f"the guide's {name} ~ {_family(site)} lives on {_words(of_guide)}, its prior on "
                    f"{_words(of_prior)} only: KL(guide || prior) is infinite and the ELBO minus infinity. Choose a "
                    f"guide within {_words(of_prior)}."
                )


def first_not_finite(pair: nn.Module, args: tuple, rows: Tensor) -> str:
    """Names the first parameter, latent value or log-density of the pair that is not finite, for an error message; in
    the mode that the pair is in, for what failed in training mode need not be there in evaluation mode."""
    with torch.no_grad(), own_store(), pyro.validation_enabled(False):
        model, guide = importance_traces(pair, args, rows)
    for trace in (guide, model):
        for name, site in trace.nodes.items():
            if site["type"] == "param" and not torch.isfinite(site["value"]).all():
                return f"parameter {name.replace('$$$', '.')}"
    for trace in (guide, model):
        for name, site in trace.nodes.items():
            if site["type"] == "sample" and not torch.isfinite(site["value"]).all():
                return f"site {name}"
            if site["type"] == "sample" and not torch.isfinite(site["log_prob"]).all():
                return f"log-density of site {name}"
    return "the gradient"
