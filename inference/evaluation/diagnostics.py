"""Can an approximation be trusted, and how noisy is what it learns from? Numbers to read beside the bounds.

Vehtari, Simpson, Gelman, Yao and Gabry, Pareto smoothed importance sampling, 2024 (k-hat).
Zhang and Stephens, A new and efficient estimation method for the generalized Pareto distribution, 2009.
Rainforth et al., Tighter variational bounds are not necessarily better, 2018 (signal and noise of gradients).
Talts, Betancourt, Simpson, Vehtari and Gelman, Validating Bayesian inference algorithms with simulation-based
calibration, 2018.
Gelman, Meng and Stern, Posterior predictive assessment of model fitness via realized discrepancies, 1996.
"""

import math
from collections.abc import Callable

import torch
from pyro import poutine
from pyro.ops.stats import fit_generalized_pareto
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.evaluation.classification import entry
from inference.evaluation.log_weights import log_weights
from inference.evaluation.predictive import of_data, posterior_draw, sample
from inference.pairs.info import inspect_pair
from inference.pairs.run import arguments, eval_mode
from inference.pairs.sites import latent_sites

RELIABLE = 0.7  # k-hat above which no practical number of draws makes the mean of the weights reliable


def pareto_k(log_w: Tensor) -> Tensor:
    """k-hat of each datum, (n,), from (k, n) log-weights: the shape of the Pareto tail of its largest weights.

    Moments of order above 1 / k-hat do not exist. Of S draws the mean of the weights is unreliable where k-hat exceeds
    min(1 - 1 / log10 S, 0.7), and at 1 or more there is none. The tail are the largest min(S / 5, 3 sqrt(S)) weights;
    the estimate leans to 1/2 as 10 more weights of that shape would have it. It is of one datum: the weights of n data
    taken together have a tail that grows heavier with n for the same guide. Where the largest weights are all equal,
    as under the exact posterior, there is no tail: -inf. Where most of them are nothing in floating point beside the
    largest, it is heavier than any: inf.

    :raises InferenceError: of less than 25 draws
    """
    draws = len(log_w)
    if draws < 25:
        raise InferenceError(f"a tail of the weights needs at least 25 draws, not {draws}.")
    size = math.ceil(min(draws / 5, 3 * math.sqrt(draws)))
    largest = log_w.detach().cpu().double().sort(0).values[-size - 1 :]  # (size + 1, n)
    same = 8 * math.sqrt(torch.finfo(log_w.dtype).eps)  # what rounding may do to equal log-weights
    found = []
    for tail in (largest - largest[-1]).unbind(1):
        excess = tail[1:].exp() - tail[0].exp()
        if tail[0] > -same:
            found.append(-math.inf)
        else:
            heavy = excess[int(size / 4 - 0.5)] < 1e-300  # the fit divides by this quartile
            found.append(math.inf if heavy else fit_generalized_pareto(excess)[0])
    return torch.tensor(found, dtype=torch.float64)


def pareto_k_summary(
    pair: nn.Module, x: Tensor, given: Tensor | None = None, draws: int = 400, seed: int = 0
) -> dict[str, dict]:
    """The `pareto_k` of data under the guide, in two numbers, each {"value", "se" over data, "n", "particles", "unit"}:
    "k_hat", their median, whose error is half the distance of the order statistics sqrt(n) / 2 below and above it, and
    "k_hat_above", the fraction above 0.7, where no practical number of draws helps; from 0.62 on 400 are too few. Where
    half of the data have no tail, or none that floating point can tell, the median has no value but its reason as
    "undefined".

    :param x: (n, ...) data that the pair was not fitted to
    :param draws: of the guide for each datum
    :raises InferenceError: if a latent is global or none is continuous, or if the guide is a point or has parameters of
        its own for every datum
    """
    with eval_mode(pair, seed):
        args, n, name = arguments(pair, x, given), len(x), type(pair).__name__
        seen = inspect_pair(pair, args)
        if seen.has_global_latent or seen.delta_sites or not seen.continuous_sites:
            raise InferenceError(
                f"k-hat is of a guide that draws continuous latents of a datum; that of {name} does not."
            )
        if seen.is_per_data_point:
            raise InferenceError(f"the guide of {name} has parameters of its own for each datum, and none for others.")
        k = pareto_k(log_weights(pair, x, given, draws)).sort().values
    about, median = {"n": n, "particles": draws}, {"value": k[(n - 1) // 2].item()}
    low, high = (k[round((n - 1) / 2 + side * math.sqrt(n) / 2)].item() for side in (-1, 1))
    if n > 1 and math.isfinite(low) and math.isfinite(high):
        median["se"] = (high - low) / 2
    if median["value"] == -math.inf:
        median = {"undefined": "the largest weights are all alike for half of the data: they have no tail"}
    elif median["value"] == math.inf:
        median = {"undefined": "one weight outweighs all others for half of the data: their mean is that one"}
    return {
        "k_hat": median | about | {"unit": "shape of a Pareto tail, median"},
        "k_hat_above": entry((k > RELIABLE).double(), f"fraction above {RELIABLE}") | about,
    }


Posterior = Callable[..., dict[str, Tensor]]


def _of_guide(pair: nn.Module) -> Posterior:
    def posterior(*args: Tensor, draws: int) -> dict[str, Tensor]:
        runs = [latent_sites(poutine.trace(pair.guide).get_trace(*args)) for _ in range(draws)]
        return {name: torch.stack([run[name]["value"] for run in runs]) for name in runs[0]}

    return posterior


def calibration_ranks(
    pair: nn.Module,
    like: Tensor,
    simulations: int = 640,
    draws: int = 63,
    given: Tensor | None = None,
    posterior: Posterior | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Simulation-based calibration: the rank of a latent drawn from the prior among `draws` of its posterior given data
    simulated from it, for every continuous site and coordinate: (simulations, coordinates), integers from 0 to `draws`.

    They are uniform if the posterior is exact. Ranks at both ends are too frequent where it is too narrow, those in the
    middle where it is too wide, and those at one end where it is off to the other.

    A simulation is one datum where all latents are local; a data set as long as `like` where one is global.

    :param like: data of the shape and kind to be simulated, (any, ...)
    :param given: what a conditional model conditions on: (simulations, ...), or (len(like), ...) where one is global
    :param posterior: posterior(x, [given,] draws=...) gives {site: (draws, n, ...)}, or (draws, ...) of a global site;
        the guide if not given, which is of one data set only where a latent is global, and then refused
    :raises InferenceError: if the prior is flat, or the guide is of one data set
    """
    if simulations < 1 or draws < 1:
        raise InferenceError(f"calibration needs simulations and draws, not {simulations} and {draws}.")
    with eval_mode(pair, seed):
        few = arguments(pair, like[:1].expand(2, *like.shape[1:]), None if given is None else given[:2])
        seen = inspect_pair(pair, few)
        joint, latents = seen.has_global_latent, seen.prior
        if joint and posterior is None:
            raise InferenceError(
                f"the guide of {type(pair).__name__} is of one data set, for a latent is global: calibration needs a "
                "posterior for each simulated one."
            )
        posterior = posterior or _of_guide(pair)
        parts: dict[str, list[Tensor]] = {}
        for _ in range(simulations if joint else 1):
            n = len(like) if joint else simulations
            truth = sample(pair, like, n, given, seed=None)
            found = posterior(*arguments(pair, truth["x"], given), draws=draws)
            for name, values in found.items():
                if not latents[name]["fn"].support.is_discrete:
                    parts.setdefault(name, []).append((values < truth[name]).sum(0).reshape(1 if joint else n, -1))
    return {name: torch.cat(ranks) for name, ranks in parts.items()}


def uniformity(ranks: Tensor, draws: int, bins: int = 16) -> Tensor:
    """The p-value of a chi-square test that ranks, (simulations, coordinates), from 0 to `draws`, are uniform:
    (coordinates,). Of many coordinates the least p-value is small by chance: compare it with a level / coordinates.

    :param bins: equal ones, of which draws + 1 is a multiple
    :raises InferenceError: if it is not, or if less than 5 simulations are expected in a bin, where the test is no test
    """
    if (draws + 1) % bins or len(ranks) < 5 * bins:
        raise InferenceError(
            f"{bins} bins of {draws + 1} ranks need {draws + 1} to be a multiple of {bins}, and at least {5 * bins} "
            f"simulations, not {len(ranks)}."
        )
    from scipy.stats import chisquare  # here: it takes a third of the time that all else takes to import

    filled = ranks.cpu() * bins // (draws + 1)
    counts = torch.stack([torch.bincount(column, minlength=bins) for column in filled.unbind(1)])
    return torch.tensor([chisquare(row).pvalue for row in counts.numpy()], dtype=torch.float64)


def predictive_check(
    pair: nn.Module,
    x: Tensor,
    statistic: Callable[[Tensor], Tensor],
    given: Tensor | None = None,
    replicates: int = 200,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Does the model make data like these? A statistic of x and of replications x' ~ p(x' | z) with z ~ q(z | x), all
    data at once; sites that the model alone sums out are drawn from their posterior.

    Data that were fitted are met better than new ones: a p-value near 1/2 says little, one near 0 or 1 much.

    :param statistic: of all data, (n, ...) to () or (m,)
    :return: "observed" (m,), "replicated" (replicates, m) and "p_value", the fraction of replications, and of x itself,
        whose statistic is not below that of x
    """
    if replicates < 1:
        raise InferenceError(f"the number of replicates must be at least 1, not {replicates}.")
    with eval_mode(pair, seed):
        args, replicated = arguments(pair, x, given), []
        for _ in range(replicates):
            guide = posterior_draw(pair, args)
            model = poutine.trace(poutine.replay(poutine.uncondition(pair.model), guide)).get_trace(*args)
            replicated.append(torch.atleast_1d(statistic(of_data(model, lambda site: site["value"], x))))
        observed, stacked = torch.atleast_1d(statistic(x)), torch.stack(replicated)
    p_value = ((stacked >= observed).sum(0) + 1).double() / (replicates + 1)
    return {"observed": observed, "replicated": stacked, "p_value": p_value}
