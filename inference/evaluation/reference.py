"""Measure a guide against draws of the exact posterior, of the models that know it.

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

from inference.errors import InferenceError
from inference.evaluation.estimate import Estimate
from inference.evaluation.log_weights import log_evidence
from inference.pairs.capabilities import exact
from inference.pairs.handlers import SetRows
from inference.pairs.info import inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.properties import is_discrete
from inference.pairs.run import arguments, eval_mode, repeat
from inference.pairs.sites import is_local

__all__ = ["against_posterior", "moment_errors"]


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
    :param draws: of the posterior, and of the guide, for each data point
    :param seed: of the noise
    :return: "eubo" and, where log p(x) is known, "forward_kl" = KL(posterior || guide), both an `Estimate`;
        "forward_ess", the effective sample size of a draw of the guide that is weighted by p / q, least of all data
        points, estimated from the posterior's draws; and `moment_errors`
    :raises InferenceError: if the model knows no posterior, or the guide does not draw its one latent with a density
    """
    name = type(pair).__name__
    posterior = exact(pair, "posterior")
    if posterior is None:
        raise InferenceError(f"{name} has no method `posterior`, and only exact draws bound the evidence from above.")
    if draws < 4:
        raise InferenceError(f"draws must be at least 4, not {draws}.")
    with eval_mode(pair, seed, "reference"), pyro.validation_enabled(False):
        args = arguments(pair, x, given)
        info = inspect_pair(pair, args)
        sites = list(info.guide_sites.items())
        if len(sites) != 1 or info.enumerated or info.delta_sites or is_discrete(sites[0][1]["fn"]):
            raise InferenceError(
                f"the exact posterior is compared with a guide that draws one continuous latent with a density; that "
                f"of {name} draws {', '.join(info.guide_sites) or 'none'}."
            )
        ((site, of_guide),) = sites

        def guess_at(args: tuple[Tensor, ...]) -> Tensor:
            return poutine.trace(pair.guide).get_trace(*args).nodes[site]["value"]  # type: ignore[return-value]

        reference = posterior(*args).sample((draws,))  # (draws, n, ...) or (draws, ...)
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
    result: dict[str, Any] = {"draws": draws, "n": len(x), **moment_errors(guess, reference)}
    if not weights.isfinite().all():
        reason = "the guide has no density at draws of the posterior"
        return result | {"eubo": Estimate.of_undefined(reason), "forward_kl": Estimate.of_undefined(reason)}
    result["eubo"] = Estimate.of_draws(weights, len(x), draws=draws)
    result["forward_ess"] = _forward_ess(weights.double()).min().item()
    if known is not None:
        result["forward_kl"] = Estimate.of_draws(weights - known, len(x), draws=draws)
    return result


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


def moment_errors(guess: Tensor, reference: Tensor) -> dict[str, float]:
    """Compare means, sds and marginals of independent draws with those of a reference, over all coordinates.

    >>> round(moment_errors(torch.arange(5.0) + 1, torch.arange(5.0))["wasserstein"], 4)  # 1 / sqrt(2.5)
    0.6325

    :param guess: (draws, ...)
    :param reference: (draws, ...), as many
    :return: in sd of the reference "largest_error" and "rms_error" of the mean, "largest_sd_error" and "rms_sd_error"
        of the sd, and "wasserstein", the largest 1-Wasserstein distance of a marginal; in Monte Carlo standard errors
        of the difference "largest_z" and "largest_sd_z". Coordinates without variance in the reference are left out
    """
    q, p = (draws.flatten(1) if draws.dim() > 1 else draws.unsqueeze(1) for draws in (guess, reference))
    varies = p.std(0) > 0
    q, p = q[:, varies].double(), p[:, varies].double()
    sd = p.std(0)
    mean_error, sd_error = (q.mean(0) - p.mean(0)).abs(), (q.std(0) - sd).abs()
    mean_mc, sd_mc = (torch.hypot(*(error(draws) for draws in (q, p))) for error in (_mean_se, _sd_se))
    return {
        "largest_error": (mean_error / sd).max().item(),
        "rms_error": (mean_error / sd).square().mean().sqrt().item(),
        "largest_sd_error": (sd_error / sd).max().item(),
        "rms_sd_error": (sd_error / sd).square().mean().sqrt().item(),
        "largest_z": (mean_error / mean_mc).max().item(),
        "largest_sd_z": (sd_error / sd_mc).max().item(),
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
