"""Simulation, reconstruction and codes, read off the traces of any pair."""

from collections.abc import Callable

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, infer_discrete
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.pairs.handlers import PosteriorMeans
from inference.pairs.info import inspect_pair
from inference.pairs.run import arguments, eval_mode
from inference.pairs.sites import is_flat, latent_sites, observed_sites


def of_data(trace: poutine.Trace, what: Callable[[dict], Tensor], x: Tensor) -> Tensor:
    """`what(site)` of the data's site, or of the sites x_1, x_2, ... put together, in the shape of x."""
    parts = [what(site) for site in observed_sites(trace).values()]
    return (parts[0] if len(parts) == 1 else torch.stack(parts, dim=1)).reshape(x.shape)


def _code(site: dict) -> Tensor:
    """The mean of a site's distribution, the probabilities of a categorical one; its value where there is no mean."""
    if isinstance(site["fn"], dist.Categorical):
        return site["fn"].probs
    try:
        return site["fn"].mean
    except NotImplementedError:
        return site["value"]


def sample(
    pair: nn.Module, like: Tensor, n: int, given: Tensor | None = None, seed: int | None = 0
) -> dict[str, Tensor]:
    """Draws n data from the model: {"x": (n, ...), "mean": E[x | latents], and every latent site by name}.

    :param like: data of the shape and kind to be drawn, (any, ...); its values are not used
    :param given: (n, ...) what a conditional model conditions on
    :raises InferenceError: if the prior is flat, so that there is nothing to draw from
    """
    if n < 1:
        raise InferenceError(f"the number of draws must be at least 1, not {n}.")
    with eval_mode(pair, seed):
        args = arguments(pair, like.new_zeros(n, *like.shape[1:]), given)
        trace = poutine.trace(poutine.uncondition(pair.model)).get_trace(*args)
    latent = {name: site for name, site in latent_sites(trace).items() if name not in observed_sites(trace)}
    for name, site in latent.items():
        if is_flat(site):
            raise InferenceError(f"drawing from {type(pair).__name__} is undefined: the prior of {name} is flat.")
    return {
        "x": of_data(trace, lambda site: site["value"], args[0]),
        "mean": of_data(trace, lambda site: site["fn"].mean, args[0]),
        **{name: site["value"] for name, site in latent.items()},
    }


def posterior_draw(pair: nn.Module, args: tuple[Tensor, ...]) -> poutine.Trace:
    """A trace of one draw of the guide, which also has the sites that the model alone sums out, drawn from their
    posterior given the others. Call it inside `judging`."""
    guide = poutine.trace(pair.guide).get_trace(*args)
    if inspect_pair(pair, args).enumerated_in_model:
        posterior = infer_discrete(poutine.replay(pair.model, guide), first_available_dim=-2)
        drawn = poutine.trace(posterior).get_trace(*args)
        guide.nodes.update({name: site for name, site in latent_sites(drawn).items() if name not in guide.nodes})
    return guide


def reconstruct(pair: nn.Module, x: Tensor, given: Tensor | None = None, seed: int | None = 0) -> Tensor:
    """E[x' | z] with z drawn from the guide at x, (n, ...): what the model makes of the code of x. Sites that the model
    alone sums out are drawn from their posterior."""
    with eval_mode(pair, seed):
        args = arguments(pair, x, given)
        guide = posterior_draw(pair, args)
        trace = poutine.trace(poutine.replay(poutine.uncondition(pair.model), guide)).get_trace(*args)
        return of_data(trace, lambda site: site["fn"].mean, x)


def encode(pair: nn.Module, x: Tensor, given: Tensor | None = None, seed: int | None = 0) -> dict[str, Tensor]:
    """The code of x: for every latent site the mean of the guide, (n, ...), the sites before it being at theirs, or at
    the mode of a discrete one. Of a discrete site its probabilities, (n, ..., values); where the model alone sums it
    out, those of its posterior."""
    with eval_mode(pair, seed):
        args = arguments(pair, x, given)
        with PosteriorMeans():
            guide = poutine.trace(pair.guide).get_trace(*args)
            code = {name: _code(site) for name, site in latent_sites(guide).items()}
        if inspect_pair(pair, args).enumerated_in_model:
            posterior = TraceEnum_ELBO(max_plate_nesting=1).compute_marginals(pair.model, pair.guide, *args)
            code |= {name: marginal.probs for name, marginal in posterior.items()}
    return code
