"""The two networks of a pair, as functions of tensors that know none by its name.

The encoder is a run of the guide in which every latent is set to its mean, or the mode of a discrete one, which the
latents after it are told: x (and given) to the parameters of the guide's distributions. The decoder is a run of the
model with its latents given: they (and given) to E[x | latents].

A pair may have one of them, or neither: a guide that knows only the data it was fitted to, or a latent that all data
share, is no encoder, and a model that draws one part of x to go on with the next is no decoder, for its mean is no
function of the latents.
"""

import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

from inference import InferenceError, eval_mode
from inference.evaluation.predictive import observed_value, posterior_trace
from inference.pairs.handlers import PosteriorMeans
from inference.pairs.info import inspect_pair
from inference.pairs.sites import is_local, latent_sites, unwrap


class NoNetworkError(InferenceError):
    """A pair has no encoder, or no decoder; the message says why."""


def _inner(site: dict) -> dist.Distribution:
    return unwrap(site["fn"], (dist.Independent, dist.MaskedDistribution))


def _parameters(fn: dist.Distribution) -> dict[str, Tensor]:
    """The parameters that a distribution was made of by name: probabilities of a discrete one, the value of a point."""
    if isinstance(fn, dist.Delta):
        return {"v": fn.v}
    if fn.support.is_discrete:
        return {"probs": fn.probs}
    given = [name for name in fn.arg_constraints if name in vars(fn)]
    return {name: getattr(fn, name) for name in given or fn.arg_constraints}


class Encoder(nn.Module):
    """The guide as a function of x (and given)."""

    def __init__(self, pair: nn.Module):
        super().__init__()
        self.pair = pair

    def trace(self, *args: Tensor) -> dict[str, dict]:
        with PosteriorMeans():
            return latent_sites(poutine.trace(self.pair.guide).get_trace(*args))

    def forward(self, *args: Tensor) -> dict[str, Tensor]:
        sites = self.trace(*args).items()
        return {f"{name}.{key}": value for name, site in sites for key, value in _parameters(_inner(site)).items()}


class Decoder(nn.Module):
    """The mean of x as a function of the latents (and given).

    :param latents: their names, in the order of the arguments
    :param like: data, (any, ...), whose shape and kind x has
    """

    def __init__(self, pair: nn.Module, latents: list[str], like: Tensor):
        super().__init__()
        self.pair, self.latents, self.like = pair, latents, like

    def forward(self, *args: Tensor) -> dict[str, Tensor]:
        x = torch.zeros(args[0].shape[0], *self.like.shape[1:], dtype=self.like.dtype, device=self.like.device)
        latents = dict(zip(self.latents, args, strict=False))
        model = poutine.condition(poutine.uncondition(self.pair.model), data=latents)
        trace = poutine.trace(model).get_trace(x, *args[len(latents) :])
        for name in latents:
            trace.remove_node(name)
        return {"mean": observed_value(trace, lambda site: site["fn"].mean, x)}


def encoder(pair: nn.Module, args: tuple[Tensor, ...]) -> tuple[Encoder, dict[str, Tensor], dict[str, str]]:
    """(the encoder, its inputs by name, what is to be said of it: the families of the guide's distributions).

    :param args: of the guide: x, or x and what it conditions on
    :raises NoNetworkError: if the guide is no function of a datum
    """
    name, module = type(pair).__name__, Encoder(pair)
    with eval_mode(pair):
        sites = module.trace(*args)
    if not sites:
        raise NoNetworkError(f"{name} has no encoder: its guide has no latent.")
    if shared := [site for site in sites if not is_local(sites[site])]:
        raise NoNetworkError(f"{name} has no encoder: all data share {', '.join(shared)}.")
    if inspect_pair(pair, args).is_per_data_point:
        raise NoNetworkError(f"{name} has no encoder: its guide has parameters of its own for each datum.")
    families = {f"q({site})": type(_inner(sites[site])).__name__ for site in sites}
    return module, dict(zip(("x", "given"), args, strict=False)), families


def decoder(pair: nn.Module, args: tuple[Tensor, ...]) -> tuple[Decoder, dict[str, Tensor], dict[str, str]]:
    """(the decoder, its inputs by name, and nothing to be said of it).

    :raises NoNetworkError: if the mean of x is no function of the latents of a datum
    """
    name = type(pair).__name__
    with eval_mode(pair):
        sites = latent_sites(posterior_trace(pair, args))
    if shared := [site for site in sites if not is_local(sites[site])]:
        raise NoNetworkError(f"{name} has no decoder: all data share {', '.join(shared)}.")
    inputs = {site: sites[site]["value"] for site in sites} | dict(zip(["given"], args[1:], strict=False))
    module, means = Decoder(pair, list(sites), args[0]), []
    for seed in (0, 1):
        with eval_mode(pair, seed):
            means.append(module(*inputs.values())["mean"])
    if not torch.equal(*means):
        raise NoNetworkError(f"{name} has no decoder: it draws one part of x to go on with the next.")
    return module, inputs, {}
