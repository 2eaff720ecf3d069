"""Measure a guide against the exact posterior, of the models that know it, or against draws of NUTS.

The ELBO is an expectation under the guide, which does not see what the guide leaves out, such as a second mode. These
numbers are expectations under the posterior p(z | x):

    EUBO = E_p(z|x)[log p(x, z) - log q(z | x)] = log p(x) + KL(p || q),    so ELBO <= log p(x) <= EUBO

    Ji and Shen, Stochastic variational inference via upper bound, 2019 (the evidence upper bound, EUBO).
"""

import math
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from inference.counts import whole_number
from inference.errors import InferenceError
from inference.evaluation.enumerated import against_probabilities
from inference.evaluation.estimate import Estimate
from inference.evaluation.log_weights import log_evidence
from inference.evaluation.modes import mode_coverage
from inference.evaluation.predictive import encode
from inference.fit.nuts import summary
from inference.pairs.capabilities import exact
from inference.pairs.handlers import SetRows
from inference.pairs.info import inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.properties import UndefinedError, is_discrete, lists_values, mean_of
from inference.pairs.run import arguments, eval_mode, repeat
from inference.pairs.sites import is_local, latent_sites

__all__ = ["against_draws", "against_posterior", "coordinates", "mean_error", "moment_errors"]

MOST_R_HAT = 1.01  # of draws that serve as a reference


def against_posterior(
    pair: Pair, x: Tensor, given: Tensor | None = None, draws: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Compare draws of the guide with as many of the exact posterior of the same data.

    >>> from inference.examples import LinearGaussian
    >>> try:
    ...     against_posterior(LinearGaussian(), torch.zeros(3, 1))
    ... except InferenceError as error:
    ...     print(error)
    LinearGaussian has no method `posterior`, and only exact draws bound the evidence from above.

    :param x: (n, ...) for a guide with parameters for each data point, the first rows of the data it was fitted to
    :param given: (n, ...) what a conditional model conditions on
    :param draws: of the posterior, and of the guide, for each data point; none of a latent whose values are enumerated
    :param seed: of the noise
    :return: "eubo" and, where log p(x) is known, "forward_kl" = KL(posterior || guide), both an `Estimate`;
        "forward_ess", the effective sample size of a draw of the guide that is weighted by p / q, least of all data
        points, estimated from the posterior's draws; where it has several modes "modes", the `mode_coverage`; and of a
        continuous latent `moment_errors`. These alone, and "exact", if the posterior is over `coordinates` of several
        latents. Without Monte Carlo error for a discrete latent of each data point: there the guide is its q(y | x) or,
        where the model alone sums y out, what message passing gives
    :raises InferenceError: if the model knows no posterior, or has several latents or one without a density
    """
    name = type(pair).__name__
    posterior = exact(pair, "posterior")
    if posterior is None:
        raise InferenceError(f"{name} has no method `posterior`, and only exact draws bound the evidence from above.")
    draws = whole_number(draws, "draws", least=4)
    if exact(pair, "coordinates"):
        return _several_latents(pair, x, given, draws, seed)
    with eval_mode(pair, seed, "reference"), pyro.validation_enabled(False):
        args = arguments(pair, x, given)
        info = inspect_pair(pair, args)
        summed = info.enumerated_in_model
        sites = info.guide_sites | {latent: info.prior[latent] for latent in summed}
        if len(sites) != 1 or info.delta_sites:
            names, points = ", ".join(sorted(sites)) or "none", " without a density" * bool(info.delta_sites)
            raise InferenceError(
                f"the exact posterior is compared with one latent, drawn with a density or summed out; {name} has "
                f"{names}{points}."
            )
        ((site, of_guide),) = sites.items()

        def guess_at(args: tuple[Tensor, ...]) -> Tensor:
            return poutine.trace(pair.guide).get_trace(*args).nodes[site]["value"]  # type: ignore[return-value]

        p = posterior(*args)
        if is_discrete(of_guide["fn"]) and is_local(of_guide) and lists_values(p):
            return against_probabilities(pair, args, site, p, encode(pair, x, given)[site] if summed else None)
        reference = p.sample((draws,))  # (draws, n, ...) or (draws, ...)
        if is_local(of_guide):
            rows = torch.arange(len(x), device=x.device).repeat(draws)
            with SetRows(rows):
                tiled = repeat(args, draws)
                guess = guess_at(tiled).view_as(reference)
                weights = _log_weight(pair, tiled, site, reference.flatten(0, 1), True).view(draws, -1)
        else:
            guess = torch.stack([guess_at(args) for _ in reference])
            weights = torch.stack([_log_weight(pair, args, site, z, False) for z in reference]).view(draws, 1)
        known = log_evidence(pair, x, given)
        modes = mode_coverage(p, reference, guess)
    result: dict[str, Any] = {"draws": draws, "n": len(x)} | ({"modes": modes} if modes else {})
    if not is_discrete(of_guide["fn"]):
        result |= moment_errors(guess, reference)
    if not weights.isfinite().all():
        reason = "the guide has no density at draws of the posterior"
        return result | {"eubo": Estimate.of_undefined(reason), "forward_kl": Estimate.of_undefined(reason)}
    result["eubo"] = Estimate.of_draws(weights, len(x), draws=draws)
    result["forward_ess"] = _forward_ess(weights.double()).min().item()
    if known is not None:
        result["forward_kl"] = Estimate.of_draws(weights - known, len(x), draws=draws)
    return result


def coordinates(pair: Pair, draws: dict[str, Tensor]) -> Tensor | None:
    """Return the vector that the exact posterior is over, (..., d), of draws of the latents by site.

    :return: None if the model knows no posterior, or has several latents and no method `coordinates`
    """
    if not exact(pair, "posterior"):
        return None
    if of_latents := exact(pair, "coordinates"):
        return of_latents(draws)
    return next(iter(draws.values())) if len(draws) == 1 else None


def _several_latents(pair: Pair, x: Tensor, given: Tensor | None, draws: int, seed: int) -> dict[str, Any]:
    """Compare the moments of a guide of several latents with those of the posterior of their coordinates."""
    with eval_mode(pair, seed, "reference"):
        args = arguments(pair, x, given)
        runs = [latent_sites(poutine.trace(pair.guide).get_trace(*args)) for _ in range(draws)]
        guess = coordinates(pair, {name: torch.stack([run[name]["value"] for run in runs]) for name in runs[0]})
        reference = exact(pair, "posterior")(*args).sample((draws,))  # type: ignore[misc]
    return {"draws": draws, "n": len(x), "exact": True, **moment_errors(guess, reference)}  # type: ignore[arg-type]


def against_draws(
    pair: Pair, chains: dict[str, Tensor], divergences: int, x: Tensor, given: Tensor | None = None, seed: int = 0
) -> dict[str, Any]:
    """Compare draws of a guide with as many of NUTS, given all data, of a model that knows no exact posterior.

    :param chains: the draws of `nuts` by site, (chains, draws, ...)
    :param divergences: the number of draws at which it diverged
    :param seed: of the guide's noise
    :return: "draws", "n" and `moment_errors`, with the Monte Carlo errors of dependent draws
    :raises InferenceError: if NUTS has not converged, or the guide draws other latents
    """
    of = [summary(value) for value in chains.values()]
    r_hat = max(one["r_hat"].nan_to_num(math.inf).where(~one["constant"], 1.0).max().item() for one in of)
    if r_hat > MOST_R_HAT or divergences:
        raise InferenceError(
            f"NUTS is no reference: R-hat {r_hat:.4g} (at most {MOST_R_HAT}), {divergences} divergences (0). Take more "
            "draws, or write the model in other coordinates."
        )
    draws = next(iter(chains.values())).shape[:2].numel()
    with eval_mode(pair, seed, "reference"), pyro.plate("draws", draws, dim=-2):
        sites = latent_sites(poutine.trace(pair.guide).get_trace(*arguments(pair, x, given)))
    if chains.keys() != sites.keys():
        raise InferenceError(f"NUTS draws {', '.join(chains)} and the guide {', '.join(sites)}.")
    guess = torch.cat([sites[name]["value"].reshape(draws, -1) for name in chains], -1)
    reference = torch.cat([value.reshape(*value.shape[:2], -1) for value in chains.values()], -1)
    means, squares = summary(reference), summary((reference - reference.flatten(0, 1).mean(0)).square())
    errors = moment_errors(guess.detach(), reference.flatten(0, 1), means["mcse"], squares["mcse"] / (2 * means["sd"]))
    return {"draws": draws, "n": len(x), **errors}


def mean_error(pair: Pair, x: Tensor, given: Tensor | None = None) -> float | None:
    """Compute the distance of the guide's means from those of the exact posterior, without draws.

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :return: root mean square over data points and coordinates, in sds of the posterior; None if the model knows no
        posterior with mean and variance, or the guide has another latent than it, or no mean
    """
    if (posterior := exact(pair, "posterior")) is None:
        return None
    try:
        codes = list(encode(pair, x, given).values())
    except UndefinedError:
        return None
    with eval_mode(pair):
        p = posterior(*arguments(pair, x, given))
        try:
            mean, sd = mean_of(p), p.variance.sqrt()
        except (NotImplementedError, UndefinedError):
            return None
        if len(codes) != 1 or codes[0].shape != mean.shape:
            return None
        return ((codes[0] - mean) / sd).square().mean().sqrt().item()


def _log_weight(pair: Pair, args: tuple[Tensor, ...], site: str, z: Tensor, local: bool) -> Tensor:
    """Compute log p(x, z) - log q(z | x) in nats, (n,), or () where z is global."""
    total = args[0].new_zeros(len(args[0]) if local else ())
    for program, sign in ((pair.model, 1), (pair.guide, -1)):
        trace = poutine.trace(poutine.condition(program, {site: z})).get_trace(*args)
        trace.compute_log_prob(lambda name, node: not site_is_subsample(node))
        for node in trace.nodes.values():
            if "log_prob" in node:
                total = total + sign * (node["log_prob"] if local else node["log_prob"].sum())
    return total


def _forward_ess(log_w: Tensor) -> Tensor:
    """Compute 1 / (E_p[p / q] E_p[q / p]), (m,): 1 where the guide is the posterior, from (draws, m) log p / q."""
    inverse = (-log_w).logsumexp(0) + log_w.logsumexp(0) - 2 * math.log(len(log_w))
    return (-inverse).exp()


def moment_errors(
    guess: Tensor, reference: Tensor, mean_mc: Tensor | None = None, sd_mc: Tensor | None = None
) -> dict[str, float]:
    """Compare means, sds and marginals of independent draws with those of a reference, over all coordinates.

    >>> round(moment_errors(torch.arange(5.0) + 1, torch.arange(5.0))["wasserstein"], 4)  # 1 / sqrt(2.5)
    0.6325

    :param guess: (draws, ...)
    :param reference: (draws, ...), as many
    :param mean_mc: (...) Monte Carlo standard errors of the reference's means, where its draws are dependent
    :param sd_mc: (...) and of its sds
    :return: in sd of the reference "largest_error" and "rms_error" of the mean, "largest_sd_error" and "rms_sd_error"
        of the sd, "wasserstein", the largest 1-Wasserstein distance of a marginal, and "reference_error", the largest
        Monte Carlo error of a mean of the reference; in Monte Carlo standard errors of the difference "largest_z" and
        "largest_sd_z". Coordinates without variance in the reference are left out
    """
    q, p = (draws.flatten(1) if draws.dim() > 1 else draws.unsqueeze(1) for draws in (guess, reference))
    varies = p.std(0) > 0
    q, p = q[:, varies].double(), p[:, varies].double()
    sd = p.std(0)
    mean_error, sd_error = (q.mean(0) - p.mean(0)).abs(), (q.std(0) - sd).abs()
    of_mean = _mean_se(p) if mean_mc is None else mean_mc.reshape(-1)[varies].double()
    of_sd = _sd_se(p) if sd_mc is None else sd_mc.reshape(-1)[varies].double()
    return {
        "largest_error": (mean_error / sd).max().item(),
        "rms_error": (mean_error / sd).square().mean().sqrt().item(),
        "largest_sd_error": (sd_error / sd).max().item(),
        "rms_sd_error": (sd_error / sd).square().mean().sqrt().item(),
        "largest_z": (mean_error / of_mean.hypot(_mean_se(q))).max().item(),
        "largest_sd_z": (sd_error / of_sd.hypot(_sd_se(q))).max().item(),
        "reference_error": (of_mean / sd).max().item(),
        "wasserstein": ((q.sort(0).values - p.sort(0).values).abs().mean(0) / sd).max().item(),
    }


def _mean_se(draws: Tensor) -> Tensor:
    """Return the standard error of the mean of independent draws, (m,)."""
    return draws.std(0) / math.sqrt(len(draws))


def _sd_se(draws: Tensor) -> Tensor:
    """Return the standard error of the sd of independent draws, (m,), from their fourth moment (delta method)."""
    variance = draws.var(0)
    fourth = (draws - draws.mean(0)).pow(4).mean(0)
    return ((fourth - variance.square()).clamp(min=0) / len(draws)).sqrt() / (2 * variance.sqrt())
