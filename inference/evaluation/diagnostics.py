"""Diagnose an approximation: Pareto k-hat, simulation-based calibration and posterior predictive checks.

Vehtari, Simpson, Gelman, Yao and Gabry, Pareto smoothed importance sampling, 2024 (k-hat).
Zhang and Stephens, A new and efficient estimation method for the generalized Pareto distribution, 2009.
Talts, Betancourt, Simpson, Vehtari and Gelman, Validating Bayesian inference algorithms with simulation-based
calibration, 2018.
Gelman, Meng and Stern, Posterior predictive assessment of model fitness via realized discrepancies, 1996.
"""

import math
from collections.abc import Callable

import torch
from pyro import poutine
from pyro.ops.stats import fit_generalized_pareto
from torch import Tensor

from inference.errors import InferenceError
from inference.evaluation.estimate import Estimate
from inference.evaluation.log_weights import log_weights
from inference.evaluation.predictive import observed_value, posterior_trace, sample
from inference.pairs.info import inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.properties import is_discrete
from inference.pairs.run import arguments, eval_mode
from inference.pairs.sites import latent_sites

__all__ = [
    "K_HAT_THRESHOLD",
    "calibration_ranks",
    "pareto_k",
    "pareto_k_summary",
    "predictive_check",
    "uniformity",
]

K_HAT_THRESHOLD = 0.7  # above, no practical number of draws makes the mean of the weights reliable


def pareto_k(log_w: Tensor) -> Tensor:
    """Estimate k-hat of each data point, (n,), from (k, n) log-weights: the shape of the Pareto tail of its weights.

    Moments of order above 1 / k-hat do not exist. The mean of S weights is unreliable where k-hat exceeds
    min(1 - 1 / log10 S, 0.7), and does not exist at 1 or more. The tail is the largest min(S / 5, 3 sqrt(S)) weights.
    The estimate is regularised towards 1/2 as by 10 more weights of that shape. It is of one data point: the weights of
    n data points together have a tail that grows heavier with n for the same guide.

    Where the largest weights are all equal, as under the exact posterior, there is no tail: -inf. Where most of them
    underflow beside the largest, the tail is heavier than any: inf.

    Vehtari, Simpson, Gelman, Yao and Gabry, Pareto smoothed importance sampling, 2024.

    :raises InferenceError: if k < 25

    >>> pareto_k(torch.zeros(100, 2))
    tensor([-inf, -inf], dtype=torch.float64)
    """
    draws = len(log_w)
    if draws < 25:
        raise InferenceError(f"k-hat needs at least 25 draws; got {draws}.")
    size = math.ceil(min(draws / 5, 3 * math.sqrt(draws)))
    largest = log_w.detach().cpu().double().sort(0).values[-size - 1 :]  # (size + 1, n)
    rounding = 8 * math.sqrt(torch.finfo(log_w.dtype).eps)  # of equal log-weights
    k_hat = []
    for tail in (largest - largest[-1]).unbind(1):
        excess = tail[1:].exp() - tail[0].exp()
        if tail[0] > -rounding:
            k_hat.append(-math.inf)
        else:
            heavy = excess[int(size / 4 - 0.5)] < 1e-300  # the fit divides by this quartile
            k_hat.append(math.inf if heavy else fit_generalized_pareto(excess)[0])
    return torch.tensor(k_hat, dtype=torch.float64)


def pareto_k_summary(
    pair: Pair, x: Tensor, given: Tensor | None = None, draws: int = 400, seed: int = 0
) -> dict[str, Estimate]:
    """Summarise the `pareto_k` of data points under the guide by their median and the fraction above K_HAT_THRESHOLD.

    400 draws are too few for a reliable mean of the weights from k-hat = 0.62 on.

    :param x: (n, ...) data that the pair was not fitted to
    :param given: (n, ...) what a conditional model conditions on
    :param draws: of the guide for each data point
    :return: "k_hat", the median, and "k_hat_above", the fraction above 0.7, both with standard errors over data. The
        median is undefined, with its reason, where half of the data points have no tail or an infinitely heavy one
    :raises InferenceError: if a latent is global or none is continuous, or if the guide is a point or has parameters
        for each data point

    >>> from inference.examples import LinearGaussian
    >>> sorted(pareto_k_summary(LinearGaussian(), torch.zeros(5, 1), draws=50))
    ['k_hat', 'k_hat_above']
    """
    with eval_mode(pair, seed):
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

    A simulation draws a latent from the prior and data from the model. The rank of the latent is the number, from 0 to
    `draws`, of posterior draws given these data that are below it. Ranks are uniform if the posterior is exact. Ranks
    at both ends are too frequent where the posterior is too narrow, those in the middle where it is too wide, and those
    at one end where it is biased to the other.

    A simulation is one data point where all latents are local, and a data set of the length of `like` where one is
    global.

    Talts, Betancourt, Simpson, Vehtari and Gelman, Validating Bayesian inference algorithms with simulation-based
    calibration, 2018.

    :param like: (any, ...) data of the shape and type to be simulated
    :param given: what a conditional model conditions on: (simulations, ...), or (len(like), ...) if a latent is global
    :param posterior: posterior(x, [given,] draws=...) returns {site: (draws, n, ...)}, or (draws, ...) of a global
        site. The default is the guide. Where a latent is global the guide is of one data set only, and not accepted
    :return: integers from 0 to `draws` by site
    :raises InferenceError: if the prior is flat, the guide is of one data set, or a number is below 1

    >>> from inference.examples import LinearGaussian
    >>> calibration_ranks(LinearGaussian(), torch.zeros(1, 1), simulations=20, draws=7)["z"].shape
    torch.Size([20, 1])
    """
    if simulations < 1 or draws < 1:
        raise InferenceError(f"calibration needs at least 1 simulation and 1 draw; got {simulations} and {draws}.")
    with eval_mode(pair, seed):
        two_rows = arguments(pair, like[:1].expand(2, *like.shape[1:]), None if given is None else given[:2])
        info = inspect_pair(pair, two_rows)
        joint, latents = info.has_global_latent, info.prior
        if joint and posterior is None:
            raise InferenceError(
                f"the guide of {type(pair).__name__} is of one data set, because a latent is global: calibration "
                "needs a posterior for each simulated one.",
                "Pass `posterior`.",
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
    """Test by chi-square whether ranks are uniform: the p-value of each coordinate, (coordinates,).

    The least of many p-values is small by chance: compare it with a level / coordinates.

    :param ranks: (simulations, coordinates) integers from 0 to `draws`, from `calibration_ranks`
    :param bins: of equal width, of which draws + 1 is a multiple
    :raises InferenceError: if it is not, or if fewer than 5 simulations are expected in a bin, where the test is
        invalid

    >>> uniformity(torch.arange(160).unsqueeze(1) % 16, draws=15)
    tensor([1.], dtype=torch.float64)
    """
    if (draws + 1) % bins or len(ranks) < 5 * bins:
        raise InferenceError(
            f"{bins} bins of {draws + 1} ranks need {draws + 1} to be a multiple of {bins}, and at least {5 * bins} "
            f"simulations; got {len(ranks)}."
        )
    from scipy.stats import chisquare  # here: it takes long to import

    filled = ranks.cpu() * bins // (draws + 1)
    counts = torch.stack([torch.bincount(column, minlength=bins) for column in filled.unbind(1)])
    return torch.tensor([chisquare(row).pvalue for row in counts.numpy()], dtype=torch.float64)


def predictive_check(
    pair: Pair,
    x: Tensor,
    statistic: Callable[[Tensor], Tensor],
    given: Tensor | None = None,
    replicates: int = 200,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Compare a statistic of x with that of replications x' ~ p(x' | z), z ~ q(z | x) (posterior predictive check).

    Sites that the model alone sums out are drawn from their posterior. Data that were fitted agree better than new
    data: a p-value near 1/2 is weak evidence for the model, one near 0 or 1 strong evidence against it.

    Gelman, Meng and Stern, Posterior predictive assessment of model fitness via realized discrepancies, 1996.

    :param x: (n, ...)
    :param statistic: of all data points together, (n, ...) to () or (m,)
    :param given: (n, ...) what a conditional model conditions on
    :return: "observed" (m,), "replicated" (replicates, m) and "p_value", (m,), the fraction of the replications and x
        together whose statistic is not below that of x
    :raises InferenceError: if `replicates` < 1

    >>> from inference.examples import LinearGaussian
    >>> check = predictive_check(LinearGaussian(), torch.zeros(5, 1), lambda x: x.std(), replicates=9)
    >>> check["replicated"].shape, check["p_value"].shape
    (torch.Size([9, 1]), torch.Size([1]))
    """
    if replicates < 1:
        raise InferenceError(f"the number of replicates must be at least 1; got {replicates}.")
    with eval_mode(pair, seed):
        args, replicated = arguments(pair, x, given), []
        for _ in range(replicates):
            guide = posterior_trace(pair, args)
            model = poutine.trace(poutine.replay(poutine.uncondition(pair.model), guide)).get_trace(*args)
            replicated.append(torch.atleast_1d(statistic(observed_value(model, lambda site: site["value"], x))))
        observed, stacked = torch.atleast_1d(statistic(x)), torch.stack(replicated)
    p_value = ((stacked >= observed).sum(0) + 1).double() / (replicates + 1)
    return {"observed": observed, "replicated": stacked, "p_value": p_value}
