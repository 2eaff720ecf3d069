"""Simulation, reconstruction and codes, read off the traces of any pair."""

import torch
from pyro import poutine
from torch import Tensor, nn

from .pairs import InferenceError, arguments, is_flat, judging, latent_sites, observed_sites


def _data(trace: poutine.Trace, what) -> Tensor:
    """`what(site)` of the data's site, or of the sites x_1, x_2, ... stacked along dimension 1."""
    parts = [what(site) for site in observed_sites(trace).values()]
    return parts[0] if len(parts) == 1 else torch.stack(parts, dim=1)


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
    with judging(pair, seed):
        args = arguments(pair, like.new_zeros(n, *like.shape[1:]), given)
        trace = poutine.trace(poutine.uncondition(pair.model)).get_trace(*args)
    latent = {name: site for name, site in latent_sites(trace).items() if name not in observed_sites(trace)}
    for name, site in latent.items():
        if is_flat(site):
            raise InferenceError(f"drawing from {type(pair).__name__} is undefined: the prior of {name} is flat.")
    return {
        "x": _data(trace, lambda site: site["value"]),
        "mean": _data(trace, lambda site: site["fn"].mean),
        **{name: site["value"] for name, site in latent.items()},
    }


def reconstruct(pair: nn.Module, x: Tensor, given: Tensor | None = None, seed: int | None = 0) -> Tensor:
    """E[x' | z] with z drawn from the guide at x, (n, ...): what the model makes of the code of x."""
    with judging(pair, seed):
        args = arguments(pair, x, given)
        guide = poutine.trace(pair.guide).get_trace(*args)
        trace = poutine.trace(poutine.replay(poutine.uncondition(pair.model), guide)).get_trace(*args)
    return _data(trace, lambda site: site["fn"].mean)


def encode(pair: nn.Module, x: Tensor, given: Tensor | None = None, seed: int | None = 0) -> dict[str, Tensor]:
    """The mean of the guide for every latent site, (n, ...): the code of x."""
    with judging(pair, seed):
        guide = poutine.trace(pair.guide).get_trace(*arguments(pair, x, given))
    return {name: site["fn"].mean for name, site in latent_sites(guide).items()}
