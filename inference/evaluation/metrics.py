"""Evaluate a fitted pair: bounds on the evidence, KL and active units, as they stand in metrics.json."""

import math
from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import kl_divergence

from inference.counts import whole_number
from inference.evaluation.estimate import Estimate, Moments
from inference.evaluation.log_weights import (
    MAX_ROWS,
    effective_sample_size,
    importance_terms,
    iwae,
    iwae_variance,
    log_evidence,
)
from inference.evaluation.predictive import encode
from inference.pairs.fitted_rows import check_rows
from inference.pairs.handlers import FittedRows
from inference.pairs.info import inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.properties import UndefinedError, is_discrete
from inference.pairs.run import Batch, arguments, check_dense, eval_mode, importance_traces
from inference.pairs.sites import (
    Site,
    children_of_enumerated,
    enumerated_sites,
    independent_factors,
    is_local,
    latent_sites,
    same_order,
)

__all__ = [
    "COLLAPSE_NATS",
    "MAX_DRAWS_IN_MEMORY",
    "collapsed",
    "evaluate",
    "joint_iwae_variance",
    "kl_per_latent",
    "monitor_elbo",
]

MAX_DRAWS_IN_MEMORY = 8_000_000  # of the guide, whatever their size
GLOBAL_DRAWS = 8  # of the guide in `monitor_elbo`, where one draw serves all data points
ACTIVE_UNIT_VARIANCE = 0.01  # over data, of a unit's posterior mean: above, the unit is active (Burda et al., 2016)
MIN_ESS = 5  # effective draws, from which on the variance of joint weights is reliable
COLLAPSE_NATS = 0.01  # KL of a coordinate, below which it is taken for the prior


def evaluate(
    pair: Pair,
    x: Tensor,
    given: Tensor | None = None,
    particles: int = 16,
    seed: int = 0,
    held_out: bool = True,
    at_a_time: int = MAX_ROWS,
) -> dict:
    """Estimate bounds and diagnostics of the pair on x, in evaluation mode: at beta = 1 and without dropout.

        "elbo", "iwae"          bounds on log p(x); the k of IWAE-k is the number of particles
        "evidence"              log p(x), where the model has a closed form
        "reconstruction"        the expected log-likelihood
        "kl", "kl_per_latent"   KL(guide || prior), the total and that of every coordinate of a latent
        "factors"               the expected sum of `pyro.factor` terms: those of the model minus those of the guide
        "active_units"          number of coordinates of the code that vary over data

    The ELBO is reconstruction - KL + factors; without factors in model and guide the third term is left out.
    Each is an `Estimate` in nats per data point, except "kl_per_latent", a list of nats by site, and "active_units", an
    integer. An undefined number is left out, and "undefined" has the reason by name.

    Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016 (IWAE, active units).

    >>> from inference.examples import LinearGaussian
    >>> metrics = evaluate(LinearGaussian(), torch.zeros(100, 1), particles=64)
    >>> sorted(metrics)
    ['active_units', 'elbo', 'evidence', 'iwae', 'kl', 'kl_per_latent', 'reconstruction']
    >>> round(metrics["evidence"]["value"], 4), metrics["evidence"]["unit"]
    (-1.2655, 'nats per data point')

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :param particles: draws of the guide for each data point
    :param seed: of the noise
    :param held_out: whether these are other data than the pair was fitted to; else x[0] is the first row of the fit, or
        the one that `FittedRows` states
    :param at_a_time: largest number of rows (data points times draws) evaluated together, which limits the memory
    :return: the numbers by name. Where a latent is global, "iwae" has no "mc_se" below 5 effective draws (MIN_ESS)
    :raises InferenceError: if x has no rows, `particles` is no integer from 1 on, or a conditional model has no `given`
    """
    check_dense(x)
    n, particles = whole_number(len(x), "the number of rows of x"), whole_number(particles, "particles")
    result: dict[str, Any] = {}
    undefined: dict[str, str] = {}
    with eval_mode(pair, seed, "evaluate"):
        args = arguments(pair, x, given)
        info, exact = inspect_pair(pair, args), log_evidence(pair, x, given)
    if exact is not None:
        result["evidence"] = Estimate.of_draws(exact.reshape(1, -1), n, exact=True)
    if info.has_global_latent:
        undefined["se"] = "a latent is global: the data points are dependent, the bounds are joint, divided by n"
    if held_out and info.is_per_data_point:
        reason = "the guide has parameters for each data point it was fitted to, and none for these"
        return result | {"undefined": undefined | dict.fromkeys(("elbo", "iwae", "kl", "reconstruction"), reason)}
    with FittedRows(), eval_mode(pair, seed, "evaluate"):
        check_rows(pair, args)
        moments = _moments(pair, x, given, particles, at_a_time)
    result["reconstruction"] = Estimate.of_moments(moments["reconstruction"], n, particles=particles)
    if info.delta_sites:
        reason = (
            f"the guide of {', '.join(info.delta_sites)} is a point (Delta): it has no density, so there is no bound"
        )
        return result | {"undefined": undefined | dict.fromkeys(("elbo", "iwae", "kl"), reason)}
    result["elbo"] = Estimate.of_moments(moments["elbo"], n, particles=particles)
    result["kl"] = Estimate.of_moments(moments["kl"], n, particles=particles)
    if "factors" in moments:
        result["factors"] = Estimate.of_moments(moments["factors"], n, particles=particles)
    result["iwae"] = Estimate.of_moments(moments["iwae"], n, k=particles)
    if info.continuous_sites and not info.has_global_latent:
        result["kl_per_latent"] = kl_per_latent(pair, x, given, seed)
    if info.continuous_sites and not info.has_global_latent and n > 1:
        try:
            with FittedRows():
                codes = encode(pair, x, given, seed)
            of_units = [_variance(codes[name].reshape(n, -1)) for name in info.continuous_sites]
            result["active_units"] = sum(int((variance > ACTIVE_UNIT_VARIANCE).sum()) for variance in of_units)
        except UndefinedError as error:
            undefined["active_units"] = str(error)
    return _without_nan(result, undefined)


def _variance(codes: Tensor) -> Tensor:
    """Return the variance over data points of each column of (n, width), of those whose code is not NaN (no step)."""
    known = ~codes.isnan()
    return (codes - codes.nanmean(0)).nan_to_num().square().sum(0) / (known.sum(0) - 1).clamp(min=1)


def _without_nan(result: dict[str, Any], undefined: dict[str, str]) -> dict[str, Any]:
    """Return the numbers that are numbers, and under "undefined" the reasons why others are left out."""
    for name in [
        name for name, number in result.items() if isinstance(number, Estimate) and math.isnan(number["value"])
    ]:
        undefined[name] = "the log-density of a draw is not a number (NaN)"
        del result[name]
    if any(math.isnan(kl) for of_site in result.get("kl_per_latent", {}).values() for kl in of_site):
        undefined["kl_per_latent"] = "the KL of a coordinate is not a number (NaN)"
        del result["kl_per_latent"]
    return result | ({"undefined": undefined} if undefined else {})


def _moments(pair: Pair, x: Tensor, given: Tensor | None, k: int, at_a_time: int) -> dict[str, Moments]:
    """Compute the moments of "elbo", "reconstruction", "kl", "factors" and "iwae" from k draws for each data point.

    Data points are processed in parts whose draws stay within MAX_DRAWS_IN_MEMORY.
    """
    parts: dict[str, list[Moments]] = {}
    joint = inspect_pair(pair, arguments(pair, x, given)).has_global_latent
    width = len(x) if joint else max(1, MAX_DRAWS_IN_MEMORY // k)
    compiled: dict[tuple[int, int], Callable[..., tuple[Tensor, ...]]] = {}
    for start in range(0, len(x), width):
        batch = Batch(x, given)[start : start + width]
        terms = importance_terms(pair, batch.x, batch.given, k, at_a_time, start, compiled, len(x))
        weights = terms["weight"].double()
        factors = {name: terms[name] for name in terms if name == "factors"}
        of_part = {
            "elbo": Moments.of_draws(terms["elbo"]),
            "reconstruction": Moments.of_draws(terms["likelihood"]),
            "kl": Moments.of_draws(sum(factors.values(), terms["likelihood"]) - terms["elbo"]),
            **{name: Moments.of_draws(value) for name, value in factors.items()},
            "iwae": Moments(iwae(weights), joint_iwae_variance(weights) if joint else iwae_variance(weights)),
        }
        for name, moments in of_part.items():
            parts.setdefault(name, []).append(moments)
    return {name: Moments.concatenate(of_parts) for name, of_parts in parts.items()}


def joint_iwae_variance(log_w: Tensor) -> Tensor:
    """Estimate the variance of `iwae` of joint weights, (k, 1), as (1,); nan below MIN_ESS effective draws.

    One of the joint weights may outweigh all others. Their spread is then no estimate of the variance.
    """
    unreliable = effective_sample_size(log_w) < MIN_ESS
    return torch.where(unreliable, math.nan, iwae_variance(log_w))


def monitor_elbo(pair: Pair, x: Tensor, given: Tensor | None = None, seed: int = 0) -> dict[str, float]:
    """Estimate the ELBO to follow during training, in nats per data point, with the same noise at every call.

    >>> from inference.examples import LinearGaussian
    >>> list(monitor_elbo(LinearGaussian(), torch.zeros(5, 1)))
    ['elbo', 'evidence']

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :param seed: of the noise
    :return: "elbo", from one draw for each data point (8 joint draws where a latent is global), or "reconstruction",
        the expected log-likelihood, where the guide is a point; and "evidence" where the model has a closed form
    :raises InferenceError: if a conditional model has no `given`
    """
    with eval_mode(pair, seed, "monitor_elbo"):
        check_rows(pair, args := arguments(pair, x, given))
        info = inspect_pair(pair, args)
        terms = importance_terms(pair, x, given, GLOBAL_DRAWS if info.has_global_latent else 1)
        exact = log_evidence(pair, x, given)
    result = {"elbo": terms["elbo"]} if not info.delta_sites else {"reconstruction": terms["likelihood"]}
    if exact is not None:
        result["evidence"] = exact.reshape(1, -1)
    return {name: (value.mean(0).sum() / len(x)).item() for name, value in result.items()}


def _kl(q: dist.TorchDistribution, p: dist.TorchDistribution, value: Tensor, closed: bool) -> Tensor:
    """Compute KL(q || p) in nats, of the common batch shape.

    In closed form, where that holds and torch knows it, else log q / p of a draw of q.
    """
    try:
        if closed:
            with torch.enable_grad():  # torch differentiates the normaliser of an exponential family
                kl = kl_divergence(q, p)
            return kl if torch.is_grad_enabled() else kl.detach()
    except NotImplementedError:
        pass
    return q.log_prob(value) - p.log_prob(value)


def kl_per_latent(pair: Pair, x: Tensor, given: Tensor | None = None, seed: int = 0) -> dict[str, list[float]]:
    """Compute KL(guide || prior) of every coordinate of every local continuous latent, in nats per data point.

    In closed form where torch knows it and the guide draws in the order of the model, else from one draw for each data
    point. Where prior or guide ties coordinates together (a full covariance) there is one number for the whole site.

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :return: by site a list of the coordinates
    """
    totals: dict[str, Tensor] = {}
    with eval_mode(pair, seed, "kl_per_latent"):
        for start in range(0, len(x), MAX_ROWS):
            part = slice(start, start + MAX_ROWS)
            args = arguments(pair, x[part], None if given is None else given[part])
            model, guide = importance_traces(pair, args, torch.arange(start, start + len(args[0]), device=x.device))
            kept, below, closed = (
                enumerated_sites(model, guide)[0],
                children_of_enumerated(model, guide),
                same_order(model, guide),
            )
            cases = sum((guide.nodes[name]["log_prob"] for name in kept), x.new_zeros(len(args[0]))).exp()
            priors: dict[str, Site] = model.nodes
            for name, q in latent_sites(guide).items():
                if not is_local(q) or is_discrete(q["fn"]) or name in below:
                    continue
                of_q, of_p, value, mask = q["fn"], priors[name]["fn"], q["value"], q["mask"]
                batch_dims = max(len(of_p.batch_shape), len(of_q.batch_shape))
                kl = _kl(*independent_factors(of_q, of_p), value, closed)
                coordinates = kl.dim() - batch_dims
                if mask is not None:
                    mask = torch.as_tensor(mask, device=kl.device)
                    kl = torch.where(mask.reshape(*mask.shape, *[1] * coordinates), kl, 0.0)
                kl = cases.reshape(*cases.shape, *[1] * coordinates) * kl
                while kl.dim() > 1 + coordinates:  # averaged over the enumerated cases, under the guide
                    kl = kl.sum(0)
                kl = kl.reshape(len(args[0]), -1).sum(0)
                totals[name] = totals.get(name, 0) + kl
    return {name: (total / len(x)).tolist() for name, total in totals.items()}


def collapsed(pair: Pair, x: Tensor, given: Tensor | None = None) -> list[str]:
    """Return the names of the collapsed latents, whose guide is the prior: posterior collapse.

    A local, continuous latent is collapsed if each of its coordinates has a KL below 0.01 nats (COLLAPSE_NATS). Where a
    latent is global, none is returned: its guide may depend on the draw of that one, and then has no KL by itself.

    >>> from inference.examples import LinearGaussian
    >>> collapsed(LinearGaussian(), torch.randn(50, 1))  # before a fit the guide is the prior
    ['z']

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :raises InferenceError: if a conditional model has no `given`
    """
    with eval_mode(pair):
        check_rows(pair, args := arguments(pair, x, given))
        info = inspect_pair(pair, args)
    if info.delta_sites or not info.continuous_sites or info.has_global_latent:
        return []
    return [name for name, kl in kl_per_latent(pair, x, given).items() if max(kl) < COLLAPSE_NATS]
