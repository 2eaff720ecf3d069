"""Bidirectional Monte Carlo: the log evidence of simulated data, bounded from both sides.

Annealed importance sampling from the prior bounds log p(x) from below in expectation. From an exact draw of the
posterior, which simulation gives, it bounds log p(x) from above. The distance of the two bounds the error of either.

    Grosse, Ghahramani and Adams, Sandwiching the marginal likelihood using bidirectional Monte Carlo, 2015.
"""

from torch import Tensor

from inference.evaluation.ais import ais, gradients, reverse_ais, upper
from inference.evaluation.estimate import Estimate
from inference.evaluation.log_weights import iwae, iwae_variance, log_evidence
from inference.evaluation.predictive import sample
from inference.pairs.handlers import FittedRows
from inference.pairs.pair import Pair
from inference.pairs.run import eval_mode

__all__ = ["bdmc"]


def bdmc(
    pair: Pair,
    like: Tensor,
    n: int = 100,
    given: Tensor | None = None,
    chains: int = 16,
    steps: int = 500,
    leapfrog: int = 10,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Bound the log evidence of n data points simulated from the model from both sides (bidirectional Monte Carlo).

    Grosse, Ghahramani and Adams, Sandwiching the marginal likelihood using bidirectional Monte Carlo, 2015.

    >>> import torch
    >>> from inference.examples import LinearGaussian
    >>> bounds = bdmc(LinearGaussian(), torch.zeros(1, 1), n=10, chains=4, steps=10, leapfrog=2)
    >>> sorted(bounds)
    ['evidence', 'lower', 'upper', 'width']

    :param like: (any, ...) data of the shape and type to be simulated
    :param given: (n, ...) what a conditional model conditions on
    :param n: number of simulated data points
    :param chains: number of chains for each data point and side
    :param steps: temperatures between prior and posterior
    :param leapfrog: steps of the integrator for one move
    :param seed: of the simulated data and of the noise of the chains
    :return: "lower", "upper", "width" (upper - lower) and, where the model has a closed form, "evidence": an `Estimate`
        each, in nats per data point. The bounds have the details "chains", "steps" and "gradients", the gradients that
        one side takes for a data point. "mc_se" is the standard error over chains. That of "upper" does not include
        the noise of the draw of the posterior, where all chains of a data point start
    :raises InferenceError: if n < 1, and as `ais` does
    """
    latents = sample(pair, like, n, given, seed)
    x = latents.pop("x")
    latents.pop("mean", None)
    with FittedRows():  # those that were drawn
        forward = ais(pair, x, given, chains, steps, leapfrog, seed)
        backward = reverse_ais(pair, x, latents, given, chains, steps, leapfrog, seed)
    low, high = iwae(forward), upper(backward)
    low_variance, high_variance = iwae_variance(forward), iwae_variance(-backward)
    about = {"chains": chains, "steps": steps, "gradients": gradients(chains, steps, leapfrog)}
    result = {
        "lower": Estimate.of_draws(low.unsqueeze(0), n, low_variance, **about),
        "upper": Estimate.of_draws(high.unsqueeze(0), n, high_variance, **about),
        "width": Estimate.of_draws((high - low).unsqueeze(0), n, low_variance + high_variance, **about),
    }
    with eval_mode(pair):
        exact = log_evidence(pair, x, given)
    if exact is not None:
        result["evidence"] = Estimate.of_draws(exact.unsqueeze(0), n, exact=True)
    return result
