"""Simulate data, reconstruct and encode, from the traces of any pair."""

from collections.abc import Callable

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, infer_discrete
from torch import Tensor

from inference.errors import InferenceError
from inference.pairs.handlers import PosteriorMeans
from inference.pairs.info import inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.run import arguments, eval_mode
from inference.pairs.sites import is_flat, latent_sites, observed_sites

__all__ = ["encode", "observed_value", "posterior_trace", "reconstruct", "sample"]


def observed_value(trace: poutine.Trace, of_site: Callable[[dict], Tensor], x: Tensor) -> Tensor:
    """Return `of_site(site)` of the observed site, in the shape of x; of sites x_1, x_2, ... those of all, stacked."""
    parts = [of_site(site) for site in observed_sites(trace).values()]
    return (parts[0] if len(parts) == 1 else torch.stack(parts, dim=1)).reshape(x.shape)


def sample(pair: Pair, like: Tensor, n: int, given: Tensor | None = None, seed: int | None = 0) -> dict[str, Tensor]:
    """Draw n data points from the model, with their latents.

    >>> from inference.examples import LinearGaussian
    >>> draws = sample(LinearGaussian(), torch.zeros(1, 1), n=5)
    >>> {name: tuple(value.shape) for name, value in draws.items()}
    {'x': (5, 1), 'mean': (5, 1), 'z': (5, 1)}

    :param like: (any, ...) data of the shape and type to be drawn; its values are not used
    :param n: number of data points
    :param given: (n, ...) what a conditional model conditions on
    :param seed: of the noise; if None, torch's generator is used as it is
    :return: "x", (n, ...); "mean", E[x | latents], (n, ...); and every latent site by name, (n, ...), or one draw for
        all n where the latent is global
    :raises InferenceError: if n < 1, or if the prior is flat, so that it cannot be sampled
    """
    if n < 1:
        raise InferenceError(f"the number of draws, n, must be at least 1; got {n}.")
    with eval_mode(pair, seed):
        args = arguments(pair, like.new_zeros(n, *like.shape[1:]), given)
        trace = poutine.trace(poutine.uncondition(pair.model)).get_trace(*args)
    latent = {name: site for name, site in latent_sites(trace).items() if name not in observed_sites(trace)}
    for name, site in latent.items():
        if is_flat(site):
            raise InferenceError(f"drawing from {type(pair).__name__} is undefined: the prior of {name} is flat.")
    return {
        "x": observed_value(trace, lambda site: site["value"], args[0]),
        "mean": observed_value(trace, lambda site: site["fn"].mean, args[0]),
        **{name: site["value"] for name, site in latent.items()},
    }


def posterior_trace(pair: Pair, args: tuple[Tensor, ...]) -> poutine.Trace:
    """Return a trace of one draw of all latents given the data: those of the guide and those the model alone sums out.

    The latter are drawn from their posterior given the former. Call it inside `eval_mode`.

    :param args: the arguments of `model` and `guide`
    """
    guide = poutine.trace(pair.guide).get_trace(*args)
    if inspect_pair(pair, args).enumerated_in_model:
        posterior = infer_discrete(poutine.replay(pair.model, guide), first_available_dim=-2)
        drawn = poutine.trace(posterior).get_trace(*args)
        guide.nodes.update({name: site for name, site in latent_sites(drawn).items() if name not in guide.nodes})
    return guide


def reconstruct(pair: Pair, x: Tensor, given: Tensor | None = None, seed: int | None = 0) -> Tensor:
    """Compute the reconstruction E[x' | z], (n, ...), with one draw of z from the guide at each x.

    Sites that the model alone sums out are drawn from their posterior.

    >>> from inference.examples import LinearGaussian
    >>> reconstruct(LinearGaussian(), torch.randn(5, 1)).shape
    torch.Size([5, 1])

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :param seed: of the noise; if None, torch's generator is used as it is
    :raises InferenceError: if a conditional model has no `given`
    """
    with eval_mode(pair, seed):
        args = arguments(pair, x, given)
        guide = posterior_trace(pair, args)
        trace = poutine.trace(poutine.replay(poutine.uncondition(pair.model), guide)).get_trace(*args)
        return observed_value(trace, lambda site: site["fn"].mean, x)


def encode(pair: Pair, x: Tensor, given: Tensor | None = None, seed: int | None = 0) -> dict[str, Tensor]:
    """Compute the code of x: the mean of the guide at every latent site, (n, ...).

    A site that depends on others gets their means, or the mode of a discrete one. The code of a discrete site is its
    probabilities, (n, ..., values). They are those of the exact posterior if the site is summed out in the model alone.

    >>> from inference.examples import LinearGaussian
    >>> encode(LinearGaussian(), torch.randn(5, 1))["z"].shape
    torch.Size([5, 1])

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :param seed: of the noise; if None, torch's generator is used as it is
    :raises InferenceError: if a conditional model has no `given`
    """
    with eval_mode(pair, seed):
        args = arguments(pair, x, given)
        with PosteriorMeans():
            guide = poutine.trace(pair.guide).get_trace(*args)
            code = {name: _code(site) for name, site in latent_sites(guide).items()}
        if inspect_pair(pair, args).enumerated_in_model:
            posterior = TraceEnum_ELBO(max_plate_nesting=1).compute_marginals(pair.model, pair.guide, *args)
            code |= {name: marginal.probs for name, marginal in posterior.items()}
    return code


def _code(site: dict) -> Tensor:
    """Return the mean of a site's distribution, the probabilities of a categorical one; its value if it has no mean."""
    if isinstance(site["fn"], dist.Categorical):
        return site["fn"].probs
    try:
        return site["fn"].mean
    except NotImplementedError:
        return site["value"]
