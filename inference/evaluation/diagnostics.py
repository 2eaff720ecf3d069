"""Diagnose an approximation: Pareto k-hat, simulation-based calibration and posterior predictive checks.

Vehtari, Simpson, Gelman, Yao and Gabry, Pareto smoothed importance sampling, 2024 (k-hat).
Talts, Betancourt, Simpson, Vehtari and Gelman, Validating Bayesian inference algorithms with simulation-based
calibration, 2018.
Gelman, Meng and Stern, Posterior predictive assessment of model fitness via realized discrepancies, 1996.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from inference.counts import whole_number
from inference.errors import InferenceError
from inference.evaluation.estimate import Estimate
from inference.evaluation.log_weights import log_weights
from inference.evaluation.predictive import observed_value, posterior_trace, sample
from inference.fit.pareto import pareto_k
from inference.pairs.fitted_rows import check_rows
from inference.pairs.info import inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.properties import is_discrete
from inference.pairs.run import arguments, eval_mode
from inference.pairs.sites import latent_sites

__all__ = [
    "K_HAT_THRESHOLD",
    "calibration",
    "calibration_ranks",
    "pareto_k_summary",
    "predictive_check",
    "uniformity",
]

K_HAT_THRESHOLD = 0.7  # above, no practical number of draws makes the mean of the weights reliable


def pareto_k_summary(
    pair: Pair, x: Tensor, given: Tensor | None = None, draws: int = 400, seed: int = 0
) -> dict[str, Estimate]:
    """Summarise `pareto_k` over data points by its median and by the fraction above K_HAT_THRESHOLD, 0.7.

    With 400 draws the mean of the weights is unreliable from k-hat = 0.62 on (see `pareto_k`).

    Vehtari, Simpson, Gelman, Yao and Gabry, Pareto smoothed importance sampling, 2024.

    >>> from inference.examples import LinearGaussian
    >>> sorted(pareto_k_summary(LinearGaussian(), torch.zeros(5, 1), draws=50))
    ['k_hat', 'k_hat_above']

    :param x: (n, ...) data that the pair was not fitted to
    :param given: (n, ...) what a conditional model conditions on
    :param draws: of the guide for each data point
    :param seed: of the noise
    :return: "k_hat", the median, and "k_hat_above", the fraction above 0.7, both with standard errors over data. The
        median is undefined, with its reason, where half of the data points have no tail or an infinitely heavy one
    :raises InferenceError: if a latent is global or none is continuous, if the guide is a point (Delta) or has
        parameters for each data point, or if `draws` < 25
    """
    with eval_mode(pair, seed, "pareto_k_summary"):
        args, name = arguments(pair, x, given), type(pair).__name__
        info = inspect_pair(pair, args)
        if info.has_global_latent or info.delta_sites or not info.continuous_sites:
            raise InferenceError(
                f"k-hat is of a guide that draws continuous latents of a data point; that of {name} does not."
            )
        if info.is_per_data_point:
            raise InferenceError(f"the guide of {name} has parameters for each data point, and none for others.")
        k = pareto_k(log_weights(pair, x, given, draws)).sort().values
    unit, reason = "shape of a Pareto tail, median", None
    median = Estimate.of_median(k, unit, particles=draws)
    if median["value"] == -math.inf:
        reason = "the largest weights are all alike for half of the data points: they have no tail"
    elif median["value"] == math.inf:
        reason = "one weight outweighs all others for half of the data points: their mean is that one"
    if reason:
        median = Estimate.of_undefined(reason, n=len(x), particles=draws, unit=unit)
    above = (k > K_HAT_THRESHOLD).double()
    return {
        "k_hat": median,
        "k_hat_above": Estimate.of_mean(above, f"fraction above {K_HAT_THRESHOLD}", particles=draws),
    }


Posterior = Callable[..., dict[str, Tensor]]


def _guide_sampler(pair: Pair) -> Posterior:
    """Return the function that draws from the guide."""

    def posterior(*args: Tensor, draws: int) -> dict[str, Tensor]:
        runs = [latent_sites(poutine.trace(pair.guide).get_trace(*args)) for _ in range(draws)]
        return {name: torch.stack([run[name]["value"] for run in runs]) for name in runs[0]}

    return posterior


def calibration_ranks(
    pair: Pair,
    like: Tensor,
    simulations: int = 640,
    draws: int = 63,
    given: Tensor | None = None,
    posterior: Posterior | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Compute the ranks of simulation-based calibration, for every continuous site (simulations, coordinates).

    A simulation draws a latent from the prior and data given this latent. The rank of the latent is the number, from 0
    to `draws`, of posterior draws given these data that are below it. Ranks are uniform if the posterior is exact. Too
    many ranks at both ends mean that the posterior is too narrow. Too many in the middle mean that it is too wide. Too
    many at 0 mean that it lies too high, and too many at `draws` that it lies too low.

    If all latents are local, a simulation is one data point. If one is global, it is a data set as long as `like`.

    Talts, Betancourt, Simpson, Vehtari and Gelman, Validating Bayesian inference algorithms with simulation-based
    calibration, 2018.

    >>> from inference.examples import LinearGaussian
    >>> calibration_ranks(LinearGaussian(), torch.zeros(1, 1), simulations=20, draws=7)["z"].shape
    torch.Size([20, 1])

    :param like: (any, ...) data of the shape and type to be simulated; its values are not used
    :param simulations: number of simulations
    :param draws: number of posterior draws for each simulation
    :param given: what a conditional model conditions on: (simulations, ...), or (len(like), ...) if a latent is global
    :param posterior: posterior(x, [given,] draws=...) returns {site: (draws, n, ...)}, or (draws, ...) of a global
        site. If None, the guide is used. It has to be passed where a latent is global, since the guide then fits one
        data set only
    :param seed: of the noise
    :return: integers from 0 to `draws` by site
    :raises InferenceError: if the prior is flat, if `simulations` or `draws` is below 1, or if `posterior` is None and
        a latent is global or the guide has parameters for each data point
    """
    simulations, draws = whole_number(simulations, "simulations"), whole_number(draws, "draws")
    with eval_mode(pair, seed, "calibration_ranks"):
        two_rows = arguments(pair, like[:1].expand(2, *like.shape[1:]), None if given is None else given[:2])
        info = inspect_pair(pair, two_rows)
        joint, latents = info.has_global_latent, info.prior
        if posterior is None and info.is_per_data_point:
            raise InferenceError(
                f"calibration is of a guide for any data; that of {type(pair).__name__} has parameters for each data "
                "point."
            )
        if joint and posterior is None:
            raise InferenceError(
                f"calibration needs a posterior for each simulated data set; the guide of {type(pair).__name__} fits "
                "one data set only, because a latent is global.",
                "Pass `posterior`, a function that draws from the posterior given x.",
            )
        posterior = posterior or _guide_sampler(pair)
        parts: dict[str, list[Tensor]] = {}
        for _ in range(simulations if joint else 1):
            n = len(like) if joint else simulations
            truth = sample(pair, like, n, given, seed=None)
            drawn = posterior(*arguments(pair, truth["x"], given), draws=draws)
            for name, values in drawn.items():
                if not is_discrete(latents[name]["fn"]):
                    parts.setdefault(name, []).append((values < truth[name]).sum(0).reshape(1 if joint else n, -1))
    return {name: torch.cat(ranks) for name, ranks in parts.items()}


def uniformity(ranks: Tensor, draws: int, bins: int = 16) -> Tensor:
    """Compute the p-value of a chi-square test that the ranks of each coordinate are uniform, (coordinates,).

    The least of many p-values is small by chance. Compare it with the level of the test divided by `coordinates`.

    >>> uniformity(torch.arange(160).unsqueeze(1) % 16, draws=15)
    tensor([1.], dtype=torch.float64)

    :param ranks: (simulations, coordinates) integers from 0 to `draws`, from `calibration_ranks`
    :param draws: number of posterior draws behind each rank
    :param bins: number of bins of equal width; draws + 1 has to be a multiple of it
    :raises InferenceError: if draws + 1 is not a multiple of `bins`, or if there are fewer than 5 * bins simulations:
        the test is invalid with fewer than 5 expected in a bin
    """
    if (draws + 1) % bins or len(ranks) < 5 * bins:
        raise InferenceError(
            f"a chi-square test in {bins} bins needs draws + 1 to be a multiple of {bins}, and at least {5 * bins} "
            f"simulations; got draws + 1 = {draws + 1} and {len(ranks)} simulations."
        )
    from scipy.stats import chisquare  # here: it takes long to import

    filled = ranks.cpu() * bins // (draws + 1)
    counts = torch.stack([torch.bincount(column, minlength=bins) for column in filled.unbind(1)])
    return torch.tensor([chisquare(row).pvalue for row in counts.numpy()], dtype=torch.float64)


def calibration(
    pair: Pair, like: Tensor, given: Tensor | None = None, simulations: int = 640, draws: int = 31, seed: int = 0
) -> dict[str, Any]:
    """Summarise simulation-based calibration of the guide over the coordinates of all continuous latents.

    It costs `draws` forward passes of `simulations` data points through the guide, and one through the model.

    >>> from inference.examples import LinearGaussian
    >>> calibration(LinearGaussian(), torch.zeros(1, 1))["spread"] < 1  # the prior, wider than the posterior
    True

    :param like, given, simulations, draws, seed: as in `calibration_ranks`
    :return: "p_value", the least of all coordinates times their number, at most 1; "spread", the variance of the ranks
        about their middle over that of uniform ranks, of the coordinate where it is furthest from 1 (above 1: the guide
        is too narrow, or off the centre; below: too wide); "simulations", "draws"
    :raises InferenceError: as `calibration_ranks`, and if the guide has parameters for each data point or no continuous
        latent
    """
    with eval_mode(pair):
        info = inspect_pair(pair, arguments(pair, like[:2], None if given is None else given[:2]))
    if info.is_per_data_point or not info.continuous_sites:
        lack = "parameters for each data point" if info.is_per_data_point else "no continuous latent"
        raise InferenceError(f"calibration is of a guide for any data; that of {type(pair).__name__} has {lack}.")
    ranks = torch.cat([*calibration_ranks(pair, like, simulations, draws, given, seed=seed).values()], 1)
    p = uniformity(ranks, draws).min().item() * ranks.shape[1]
    spread = (ranks - draws / 2).square().mean(0) * 12 / ((draws + 1) ** 2 - 1)
    furthest = spread[spread.log().abs().argmax()].item()
    return {"p_value": min(1.0, p), "spread": furthest, "simulations": len(ranks), "draws": draws}


def predictive_check(
    pair: Pair,
    x: Tensor,
    statistic: Callable[[Tensor], Tensor],
    given: Tensor | None = None,
    replicates: int = 200,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Compare a statistic of x with that of replications x' ~ p(x' | z), z ~ q(z | x) (posterior predictive check).

    Sites that the model alone sums out are drawn from their posterior. A p-value near 0 or 1 is strong evidence against
    the model. One near 1/2 is only weak evidence for it, since the latents were inferred from the same x.

    Gelman, Meng and Stern, Posterior predictive assessment of model fitness via realized discrepancies, 1996.

    >>> from inference.examples import LinearGaussian
    >>> check = predictive_check(LinearGaussian(), torch.zeros(5, 1), lambda x: x.std(), replicates=9)
    >>> check["replicated"].shape, check["p_value"].shape
    (torch.Size([9, 1]), torch.Size([1]))

    :param x: (n, ...)
    :param statistic: of all data points together, (n, ...) to () or (m,)
    :param given: (n, ...) what a conditional model conditions on
    :param replicates: number of replications, each of n data points
    :param seed: of the noise
    :return: "observed" (m,), "replicated" (replicates, m) and "p_value", (m,), the fraction of the replications and x
        together whose statistic is not below that of x
    :raises InferenceError: if `replicates` < 1, or a guide with parameters for each data point is used outside
        `FittedRows`
    """
    replicates = whole_number(replicates, "replicates")
    with eval_mode(pair, seed, "predictive_check"):
        args, replicated = arguments(pair, x, given), []
        check_rows(pair, args)
        summed = inspect_pair(pair, args).enumerated_in_model
        for _ in range(replicates):
            guide = posterior_trace(pair, args, summed)
            model = poutine.trace(poutine.replay(poutine.uncondition(pair.model), guide)).get_trace(*args)
            replicated.append(torch.atleast_1d(statistic(observed_value(model, lambda site: site["value"], x))))
        observed, stacked = torch.atleast_1d(statistic(x)), torch.stack(replicated)
    p_value = ((stacked >= observed).sum(0) + 1).double() / (replicates + 1)
    return {"observed": observed, "replicated": stacked, "p_value": p_value}
