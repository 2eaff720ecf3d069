"""Is there sense in fitting this pair to these data? Asked once, before the first step, in words."""

import math
from collections.abc import Callable, Collection, Iterator

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn
from torch.distributions import constraints

from inference.errors import InferenceError
from inference.pairs.run import arguments, eval_mode, importance_traces, param_scope
from inference.pairs.sites import is_delta, latent_sites, observed_sites

PLATE = 'write pyro.plate("data", total or len(x), subsample_size=len(x))'
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


def site_faults(model: poutine.Trace, guide: poutine.Trace) -> Iterator[str]:
    """Latents that model and guide do not share, and data that are not the site x; of what has come to its end."""
    drawn, seen = latent_sites(guide), observed_sites(model)
    prior = {name: site for name, site in latent_sites(model).items() if name not in seen}  # also without data
    if "_RETURN" in guide.nodes:
        for name, site in prior.items():
            if name not in drawn and not site["infer"].get("enumerate"):
                yield (
                    f"{name} is latent in the model, and the guide has no {name}: draw it in the guide too, or give "
                    "it obs=... in the model if it is data."
                )
    if "_RETURN" not in model.nodes:
        return
    for name in drawn:
        if name not in prior:
            yield (
                f"{name} is latent in the guide, and not in the model: give it a prior there, or mark it "
                'infer={"is_auxiliary": True} if it is noise of the guide alone.'
            )
    if not seen or seen.keys() not in ({"x"}, {f"x_{t}" for t in range(1, len(seen) + 1)}):
        yield (
            f"the observed sites of the model are: {', '.join(seen) or 'none'}. The data are "
            'pyro.sample("x", ..., obs=x), or "x_1", "x_2", ... where there is one for each step of time.'
        )


def plate_faults(
    model: poutine.Trace, guide: poutine.Trace, rows: int, total: int, varies: Collection[tuple[str, str]] = ()
) -> Iterator[str]:
    """What does not stand in the plate of the data as it should, in a minibatch of so many rows of so many data.

    :param varies: (part, name) of the sites whose shape is another with more rows
    """
    for part, trace in (("guide", guide), ("model", model)):
        fn = trace.nodes["data"]["fn"] if "data" in trace.nodes else None
        told = fn is None or (fn.size, fn.subsample_size) == (total, rows)
        if not told:
            yield (
                f"the plate of the {part} is told of {fn.size} data, {fn.subsample_size or 'all'} of them in the "
                f"minibatch, where there are {total}, and {rows} in the minibatch: {PLATE}."
            )
        for name, site in trace.nodes.items():
            if site["type"] != "sample" or site_is_subsample(site):
                continue
            plates = {frame.name: frame.dim for frame in site["cond_indep_stack"] if frame.vectorized}
            expected = total / rows if plates else 1.0
            if plates not in ({}, {"data": -1}):
                which = ", ".join(f"{key!r} (dim {dim})" for key, dim in plates.items())
                yield (
                    f"{name} of the {part} stands in the plates {which}, and there is one, 'data' (dim -1): {PLATE} "
                    "around what belongs to a datum, nothing around what all data share, and fold other dimensions "
                    "into the event by .to_event."
                )
            elif not plates and ((part, name) in varies or name in observed_sites(model)):
                yield f"{name} of the {part} belongs to a datum and stands outside the plate: {PLATE} around it."
            elif told and float(site["scale"]) != expected:
                yield (
                    f"{name} of the {part} is scaled by {float(site['scale']):g} and not by {expected:g}: leave out "
                    "poutine.scale, and weigh the KL by --beta."
                )


def parameter_faults(pair: nn.Module, model: poutine.Trace, guide: poutine.Trace) -> Iterator[str]:
    """Parameters of Pyro's store alone."""
    own = {id(parameter) for parameter in pair.parameters()}
    for trace in (model, guide):
        for name, site in trace.nodes.items():
            if site["type"] == "param" and id(site["value"]) not in own:
                yield (
                    f"pyro.param({name.replace('$$$', '.')!r}) is a parameter outside of the pair, which no optimiser "
                    "and no file of weights knows: make it an nn.Parameter in an nn.ParameterDict, with its constraint "
                    "written out."
                )


def check_fit(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> None:
    """Raises InferenceError where data and pair cannot go together (`check_data`), or where Pyro's store would have
    parameters that the pair does not have."""
    model, guide = check_data(pair, x, given)
    for fault in parameter_faults(pair, model, guide):
        raise InferenceError(fault)


def check_data(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> tuple[poutine.Trace, poutine.Trace]:
    """Traces of the model, without data, and of the guide, of two rows; InferenceError where data and pair cannot go
    together.

    Checked: sites and plate as CONTRIBUTING.md has them, all the data against the support of the likelihood
    and the `bounds` of the pair, classes against the number of them, covariates against their width (`given_dim`), data
    against those that a guide has parameters for (`total`), and for every latent site that the guide's support lies
    within the prior's: where it does not, the KL is infinite. Some points are asked, so a guide that is too wide by
    little may pass.
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
    few = tuple(a[:2] for a in args)
    prior = _few(pair, poutine.uncondition(pair.model), few, "model")
    data = list(observed_sites(prior).values())  # x, or x_1, x_2, ...: parts of x with one likelihood
    if data:
        site = data[0]
        expected = site["value"].shape[1:]
        if site["name"] == "x" and x.shape[1:] != expected:
            flat = " Rows come flat: flatten the event, or observe a site x_1, x_2, ... for each step of time."
            raise InferenceError(
                f"{type(pair).__name__} expects rows of shape {tuple(expected)} and x has rows of shape "
                f"{tuple(x.shape[1:])}.{flat * (expected.numel() == x.shape[1:].numel())}"
            )
        support = getattr(site["fn"].support, "base_constraint", site["fn"].support)
        if not support.check(x).all():
            raise InferenceError(
                f"{_family(site)} needs values in {_words(support)}; x has others, between {least:.3g} "
                f"and {greatest:.3g}."
            )
    guide = _few(pair, pair.guide, few, "guide")
    for fault in site_faults(prior, guide):
        raise InferenceError(fault)
    probes = x.new_tensor([-7.3, -2.3, -1.2, -0.6, 0.3, 0.7, 1.2, 2.3, 7.3], dtype=torch.float32)
    for name, site in latent_sites(guide).items():
        if name not in prior.nodes or is_delta(site):  # the support of a point is all real numbers, wherever it is
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
    return prior, guide


def _few(pair: nn.Module, part: Callable, few: tuple[Tensor, ...], name: str) -> poutine.Trace:
    """A trace of the model, or the guide, on a few rows as a minibatch of twice as many.

    :raises InferenceError: if it cannot be run, or its plate is not that of the data
    """
    handler, refused = poutine.trace(part), None
    with eval_mode(pair):
        try:
            handler(*few, total=2 * len(few[0]))
        except ValueError as error:
            refused = error
    traces = {"model": poutine.Trace(), "guide": poutine.Trace()} | {name: handler.trace}
    for fault in plate_faults(**traces, rows=len(few[0]), total=2 * len(few[0])):
        raise InferenceError(fault) from refused
    if refused is not None:
        words = str(refused).partition("Trace Shapes")[0].split()
        raise InferenceError(f"{type(pair).__name__} refuses these data: {' '.join(words)}") from refused
    return handler.trace


def first_not_finite(pair: nn.Module, args: tuple, rows: Tensor) -> str:
    """Names the first parameter, latent value or log-density of the pair that is not finite, for an error message; in
    the mode that the pair is in, for what failed in training mode need not be there in evaluation mode."""
    with torch.no_grad(), param_scope(), pyro.validation_enabled(False):
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
