"""The other direction of the gap: KL(posterior || guide), from exact draws of the posterior."""

import torch
from pyro import poutine
from torch import Tensor

from inference.errors import InferenceError
from inference.evaluation.estimate import Estimate
from inference.pairs.capabilities import exact
from inference.pairs.pair import Pair
from inference.pairs.run import arguments, eval_mode
from inference.pairs.sites import is_delta, latent_sites

__all__ = ["forward_kl"]


def forward_kl(pair: Pair, x: Tensor, given: Tensor | None = None, draws: int = 64, seed: int = 0) -> Estimate:
    """Estimate KL(p(z | x) || q(z | x)), in nats per data point, of a pair that computes its posterior.

    It is the mean of log p(z | x) - log q(z | x) over draws of the posterior; with log p(x) added, an upper bound on
    log p(x), as the ELBO is a lower one. It is large where the guide misses a part of the posterior, which the gap,
    KL(q || p), may not see. If the latent is global, it is that of all data, divided by their number.

    >>> from inference.examples import LinearGaussian
    >>> round(forward_kl(LinearGaussian(), torch.zeros(100, 1), draws=1000)["value"], 1)  # of Normal(0, 1/2) and (0, 1)
    0.1

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :param draws: of the posterior, for each data point
    :param seed: of the noise
    :raises InferenceError: if the pair does not compute its posterior, or its guide has another latent than that one
    """
    args, posterior_of = arguments(pair, x, given), exact(pair, "posterior")
    if posterior_of is None:
        raise InferenceError(f"KL(posterior || guide) needs the exact posterior; {type(pair).__name__} has none.")
    with eval_mode(pair, seed, "forward_kl"):
        sites = latent_sites(poutine.trace(pair.guide).get_trace(*args))
        if len(sites) != 1:
            raise InferenceError(
                f"KL(posterior || guide) needs one latent in the guide; {type(pair).__name__} has {', '.join(sites)}."
            )
        ((name, site),) = sites.items()
        if is_delta(site):
            raise InferenceError(f"KL(posterior || guide) is infinite: the guide of {name} is a point.")
        posterior = posterior_of(*args)
        values = []
        for _ in range(draws):
            z = posterior.sample()
            at_z = poutine.condition(pair.guide, {name: z.reshape(site["value"].shape)})
            trace = poutine.trace(at_z).get_trace(*args)
            trace.compute_log_prob()
            log_q = trace.nodes[name]["log_prob"]
            values.append((posterior.log_prob(z).reshape(log_q.shape) - log_q).reshape(-1))
    return Estimate.of_draws(torch.stack(values), len(x))
