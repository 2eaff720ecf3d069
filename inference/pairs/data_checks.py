"""Validate model, guide and data before training."""

from collections.abc import Callable
from contextlib import suppress

import torch
from pyro import poutine
from torch import Tensor

from inference.errors import InferenceError
from inference.pairs import capabilities
from inference.pairs.autoguides import autoguide_fault, pyro_sample_fault
from inference.pairs.checks import (
    BY_ROWS,
    ContractError,
    misfit_fault,
    parameter_faults,
    plate_faults,
    shape_faults,
    signature_faults,
    site_faults,
)
from inference.pairs.handlers import SetRows
from inference.pairs.info import PairInfo
from inference.pairs.pair import Pair
from inference.pairs.properties import distribution_fault, parameter_fault
from inference.pairs.run import arguments, check_dense, eval_mode, same_buffers
from inference.pairs.sites import Site
from inference.pairs.support_checks import check_likelihoods, check_supports
from inference.pairs.unregistered import unregistered_faults
from inference.pairs.values import FROM_PLACE, FROM_X, RESTARTED, restarted_part, site_from_place, site_from_x
from inference.pairs.vectorised import FROM_OTHERS, row_fault, site_from_others

__all__ = ["check_data", "check_fit", "check_given", "check_scored", "check_training", "check_vectorised"]

VARIED_ROWS = 8  # enough for x to have different values


def check_fit(pair: Pair, x: Tensor, given: Tensor | None = None) -> None:
    """Check that the pair can be fitted to the data: sites, plate, shapes, supports, parameters, and that the model
    computes nothing from the values of x.

    It is run on a few rows in evaluation mode. `SVI` calls it before the first step, and then `check_training`.

    >>> import torch
    >>> from inference import InferenceError, check_fit
    >>> from inference.examples import LinearGaussian
    >>> check_fit(LinearGaussian(), torch.zeros(5, 1))
    >>> try:
    ...     check_fit(LinearGaussian(), torch.full((5, 1), torch.nan))
    ... except InferenceError as error:
    ...     print(error)
    x has values that are not finite. Remove or replace them; a pair that declares missing_values takes NaN.

    :param x: (n, ...) all the data
    :param given: (n, ...) labels or covariates, for a conditional model
    :raises InferenceError: if pair and data do not go together
    :raises ContractError: if a clause of the contract is broken
    """
    model, guide = check_data(pair, x, given)
    for fault in parameter_faults(pair, model, guide):
        raise ContractError("registered", fault)
    with eval_mode(pair):
        varied = tuple(a[:VARIED_ROWS] for a in arguments(pair, x, given))
        if name := site_from_x(pair, varied):
            raise ContractError("values", FROM_X.format(name))
        if name := site_from_place(pair, varied):
            raise ContractError("plate", FROM_PLACE.format(name))
        if coupled := row_fault(pair, varied):
            raise ContractError("plate", coupled)
        if part := restarted_part(pair, varied):
            raise ContractError("leftovers", RESTARTED.format(part))


def check_data(pair: Pair, x: Tensor, given: Tensor | None = None) -> tuple[poutine.Trace, poutine.Trace]:
    """Check that data and pair go together; return traces of two rows: of the model, without data, and of the guide.

    Checked are sites and plate (CONTRIBUTING.md), all the data against the support of the likelihood and the optional
    attributes of the pair (`bounds`, `classes`, `given_dim`, `total`), and for every latent site that the support of
    the guide lies within that of the prior: where it does not, the KL is infinite. The supports are compared at a few
    points, so a guide that is slightly too wide may pass.

    :raises InferenceError: if they do not go together
    """
    ends = _check_x(pair, x)
    args = arguments(pair, x, given)
    for broken in signature_faults(pair, args):
        raise ContractError("signature", broken)
    _check_bounds(pair, ends)
    check_given(pair, given if len(args) > 1 else None)
    if (total := capabilities.count(pair, "total")) is not None and total != len(x):
        raise InferenceError(
            f"{type(pair).__name__} has separate parameters for {total} data points, and x has {len(x)}.",
            ("total", str(len(x))),
        )
    if fault := autoguide_fault(pair):
        raise ContractError("autoguides", fault)
    prior = _few(pair, poutine.uncondition(pair.model), args, "model")
    check_likelihoods(pair, args, prior)
    guide = _few(pair, pair.guide, args, "guide")
    for fault in site_faults(prior, guide):
        raise ContractError("sites", fault)
    for fault in shape_faults(prior, guide):
        raise ContractError("shapes", fault)
    check_supports(x, prior, guide)
    return prior, guide


def check_scored(pair: Pair, x: Tensor, given: Tensor | None = None) -> None:
    """Check that a pair can score data that it is not fitted to, such as held-out rows.

    :param x: (n, ...)
    :param given: (n, ...) labels or covariates, for a conditional model
    :raises InferenceError: if the data do not agree with the likelihood, or with the optional attributes of the pair
    """
    ends, args = _check_x(pair, x), arguments(pair, x, given)
    _check_bounds(pair, ends)
    check_given(pair, given if len(args) > 1 else None)
    check_likelihoods(pair, args, _few(pair, poutine.uncondition(pair.model), args, "model"))


def _check_x(pair: Pair, x: Tensor) -> tuple[float, float]:
    """Return the least and the greatest value of x.

    :raises InferenceError: if there is none, or a value is missing or not finite where the pair does not expect it; or
        if x is no dense tensor of floats
    """
    check_dense(x)
    if len(x) == 0:
        raise InferenceError("x has no rows; expected at least one.")
    masks = capabilities.takes_nan(pair)
    known = x[~x.isnan()] if masks else x
    if not torch.isfinite(known).all():
        remedy = "" if masks else "; a pair that declares missing_values takes NaN"
        raise InferenceError("x has values that are not finite.", f"Remove or replace them{remedy}.")
    _check_ends(pair, x)
    if not known.numel():
        raise InferenceError(f"x has rows of shape {tuple(x.shape[1:])}, without a value; expected at least one.")
    return known.min().item(), known.max().item()


def _check_bounds(pair: Pair, ends: tuple[float, float]) -> None:
    """:raises InferenceError: if x has values beyond the bounds that the pair states"""
    low, high = capabilities.bounds(pair)
    if ends[0] < low or ends[1] > high:
        raise InferenceError(
            f"{type(pair).__name__} expects values in [{low:g}, {high:g}]; x has others, between {ends[0]:.3g} and "
            f"{ends[1]:.3g}: rescale them."
        )


def check_given(pair: Pair, given: Tensor | None) -> None:
    """:raises InferenceError: if labels or covariates do not agree with the optional attributes of the pair"""
    classes, missing = capabilities.count(pair, "classes"), capabilities.count(pair, "missing") or 0
    if given is not None and classes is not None:
        least, greatest = given.min().item(), given.max().item()
        if given.is_floating_point() or least < missing or greatest >= classes:
            gaps = f", or {missing} where one is missing" if missing < 0 else ""
            raise InferenceError(
                f"labels must be integers from 0 to {classes - 1}{gaps}, and these go from {least} to {greatest}."
            )
    width = capabilities.count(pair, "given_dim")
    if given is not None and width is not None and given.shape[1:] != (width,):
        got = "labels" if given.dim() < 2 else f"{given.shape[1]} covariates"
        raise InferenceError(
            f"{type(pair).__name__} conditions on {width} covariate{'s'[: width != 1]} of each data point; got {got}.",
            f"Choose data with {width} covariate{'s'[: width != 1]} (of a table: named columns), or another given_dim.",
        )


def _check_ends(pair: Pair, x: Tensor) -> None:
    """:raises InferenceError: if x has no whole steps, or NaN within a sequence where the pair masks its end alone"""
    width, missing = capabilities.capability(pair, "step_dim"), x.reshape(len(x), -1).isnan()
    if width and missing.shape[1] % width:
        raise InferenceError(
            f"x has rows of {missing.shape[1]} entries, no whole steps of {width}, as {type(pair).__name__} expects.",
            "Choose other data, or hyper-parameters of the model that fit these.",
        )
    if not width or capabilities.capability(pair, "missing_values"):
        return
    known = (~missing).sum(1, keepdim=True)
    after = torch.arange(missing.shape[1], device=x.device) >= known
    wrong = (missing != after).any(1) | (known % width != 0).any(1) | (known == 0).any(1)
    if wrong.any():
        fault = "NaN within its sequence" if known[row := int(wrong.nonzero()[0])] else "no value"
        message = f"row {row} of x has {fault}; {type(pair).__name__} takes NaN after the end of a sequence alone"
        raise InferenceError(f"{message}, in whole steps of {width}.", "Remove these rows, or fill in what is missing.")


def _few(pair: Pair, part: Callable[..., None], args: tuple[Tensor, ...], name: str) -> poutine.Trace:
    """Return a trace of the model, or the guide, on two rows as a minibatch of twice as many.

    It is run on a third row too if an event may have the rows in it.

    :raises InferenceError: if it cannot be run
    :raises ContractError: if its plate or a shape is wrong
    """
    few, empty = tuple(a[:2] for a in args), poutine.Trace()
    rows = len(few[0])
    trace, refused = _run(pair, part, few)
    sites: list[Site] = [site for site in trace.nodes.values() if site["type"] == "sample"]
    suspect = any(rows in getattr(site["fn"], "event_shape", ())[:1] for site in sites)
    more = _run(pair, part, tuple(a[: rows + 1] for a in args))[0] if suspect and len(args[0]) > rows else empty
    model, guide, *other = (trace, empty, more, empty) if name == "model" else (empty, trace, empty, more)
    for fault in plate_faults(model, guide, rows, 2 * rows):
        raise ContractError("plate", fault) from refused
    for fault in shape_faults(model, guide, (other[0], other[1])):
        raise ContractError("shapes", fault) from refused
    if refused is None:
        return trace
    if misfit := misfit_fault(refused, len(args[0])):
        raise ContractError("shapes", misfit) from refused
    if name == "model":  # a network of the model that refuses the width of z is not at fault if the guide's z fits it
        for fault in shape_faults(trace, _run(pair, pair.guide, few)[0]):
            raise ContractError("shapes", fault) from refused
    if len(args[0]) > rows and _run(pair, part, args, total=len(args[0]))[1] is None:
        fault = f"the {name} runs on all rows, and not on a minibatch of two. {BY_ROWS}"
        raise ContractError("plate", fault) from refused
    if wrong := pyro_sample_fault(pair, trace, args[0]):
        raise ContractError("device", wrong) from refused
    kinds = {p.dtype for p in pair.parameters() if p.is_floating_point()} - {args[0].dtype}
    if kinds and isinstance(refused, RuntimeError) and "dtype" in str(refused):
        kind = str(kinds.pop()).removeprefix("torch.")
        raise InferenceError(
            f"x is {str(args[0].dtype).removeprefix('torch.')}, and {type(pair).__name__} has parameters in {kind}.",
            f"Use x.to(torch.{kind}).",
        ) from refused
    if not isinstance(refused, ValueError):
        if unable := distribution_fault(refused):
            raise InferenceError(unable) from refused
        raise refused
    if outside := parameter_fault(refused):
        raise InferenceError(outside) from refused
    reason = " ".join(str(refused).partition("Trace Shapes")[0].split())
    raise InferenceError(
        f"{type(pair).__name__} refuses rows of shape {tuple(few[0].shape[1:])}: {reason.rstrip('.')}.",
        "Choose other data, or hyper-parameters of the model that fit these.",
    ) from refused


def _run(
    pair: Pair, part: Callable[..., None], few: tuple[Tensor, ...], total: int | None = None
) -> tuple[poutine.Trace, Exception | None]:
    """Return a trace of a part on these rows, and what cut it short.

    :param total: of which they are a minibatch; twice as many if None
    """
    handler = poutine.trace(part)
    with eval_mode(pair), same_buffers(pair), SetRows(torch.arange(len(few[0]), device=few[0].device)):
        try:
            handler(*few, total=total or 2 * len(few[0]))
        except Exception as error:  # any error of the user's code: its cause may be a clause
            return handler.trace, error
    return handler.trace, None


def check_vectorised(pair: Pair, args: tuple[Tensor, ...], particles: bool = False) -> None:
    """Check that the log-density at a value of a latent does not depend on other values in the same run.

    A pair that fails on many values at once passes: its first step says more.

    :param args: (x,) or (x, given), of a few rows
    :param particles: whether global latents have several values, as well as those that are enumerated
    :raises ContractError: if it does
    """
    fault = None
    with eval_mode(pair), suppress(Exception):  # any error of the user's code
        fault = site_from_others(pair, args, particles)
    if fault:
        raise ContractError("vectorised", FROM_OTHERS.format(*fault))


def check_training(pair: Pair, info: PairInfo) -> None:
    """Check what a pair does in training mode alone: sites, plates, shapes and parameters.

    :param info: of the pair in training mode
    :raises ContractError: if a clause of the contract is broken
    """
    rows = len(info.args[0])
    for fault in site_faults(info.model, info.guide):
        raise ContractError("sites", fault)
    for fault in plate_faults(info.model, info.guide, rows, rows):
        raise ContractError("plate", fault)
    for fault in parameter_faults(pair, info.model, info.guide):
        raise ContractError("registered", fault)
    for fault in shape_faults(info.model, info.guide):
        raise ContractError("shapes", fault)
    for fault in unregistered_faults(pair, info):
        raise ContractError("registered", fault)
