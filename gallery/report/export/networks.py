"""Encoder and decoder of a pair as functions of tensors, from runs of guide and model.

The encoder is a run of the guide with every latent at its mean, or its mode if it is discrete. It maps x (and given) to
the parameters of the guide's distributions. The decoder is a run of the model conditioned on its latents. It maps them
(and given) to E[x | latents].

A pair may lack one of them or both. A guide with parameters per data point, or with a global latent, is no encoder. A
model that feeds a sample of one part of x into the next is no decoder: its mean is no function of the latents.
"""

from typing import Any

import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

from inference import InferenceError, Pair, eval_mode
from inference.evaluation.predictive import observed_value, posterior_trace
from inference.pairs.handlers import PosteriorMeans
from inference.pairs.info import inspect_pair
from inference.pairs.properties import UndefinedError, is_discrete, mean_of
from inference.pairs.sites import Site, is_local, latent_sites, unwrap

__all__ = ["Decoder", "Encoder", "NoNetworkError", "decoder", "encoder"]


class NoNetworkError(InferenceError):
    """The error of a pair without encoder or decoder. The message states the reason."""


def _inner(site: Site) -> Any:
    fn = site["fn"]
    while isinstance(fn, dist.Independent | dist.MaskedDistribution):
        fn = fn.base_dist
    return fn


def _parameters(fn: Any) -> dict[str, Tensor]:
    """Return the parameters of a distribution by name: `probs` if it is discrete, `v` of a Delta."""
    if isinstance(fn, dist.Delta):
        return {"v": fn.v}
    if is_discrete(fn):
        return {"probs": fn.probs}
    given = [name for name in fn.arg_constraints if name in vars(fn)]
    return {name: getattr(fn, name) for name in given or fn.arg_constraints}


class Encoder(nn.Module):
    """The guide as a function of x (and given)."""

    def __init__(self, pair: Pair):
        super().__init__()
        self.pair = pair

    def trace(self, *args: Tensor) -> dict[str, Site]:
        """Return the latent sites of the guide at its means."""
        with PosteriorMeans():
            return latent_sites(poutine.trace(self.pair.guide).get_trace(*args))

    def forward(self, *args: Tensor) -> dict[str, Tensor]:
        """Return the parameters of the guide's distributions by "site.parameter"."""
        sites = self.trace(*args).items()
        return {f"{name}.{key}": value for name, site in sites for key, value in _parameters(_inner(site)).items()}


class Decoder(nn.Module):
    """The mean of x as a function of the latents (and given).

    :param latents: names of the latents, in the order of the arguments
    :param like: data, (any, ...), with the event shape, dtype and device of x
    """

    def __init__(self, pair: Pair, latents: list[str], like: Tensor):
        super().__init__()
        self.pair, self.latents, self.like = pair, latents, like

    def forward(self, *args: Tensor) -> dict[str, Tensor]:
        """Return {"mean": E[x | latents]}."""
        x = torch.zeros(args[0].shape[0], *self.like.shape[1:], dtype=self.like.dtype, device=self.like.device)
        latents = dict(zip(self.latents, args, strict=False))
        model = poutine.condition(poutine.uncondition(self.pair.model), data=latents)
        trace = poutine.trace(model).get_trace(x, *args[len(latents) :])
        for name in latents:
            trace.remove_node(name)
        return {"mean": observed_value(trace, lambda site: mean_of(site["fn"]), x)}


def encoder(pair: Pair, args: tuple[Tensor, ...]) -> tuple[Encoder, dict[str, Tensor], dict[str, str]]:
    """Return the encoder, its inputs by name, and the families of the guide's distributions.

    :param args: the arguments of the guide: (x,) or (x, given)
    :raises NoNetworkError: if the guide is no function of a data point
    """
    name, module = type(pair).__name__, Encoder(pair)
    with eval_mode(pair):
        sites = module.trace(*args)
    if not sites:
        raise NoNetworkError(f"{name} has no encoder: its guide has no latent.")
    if shared := [site for site in sites if not is_local(sites[site])]:
        raise NoNetworkError(f"{name} has no encoder: all data points share {', '.join(shared)}.")
    if inspect_pair(pair, args).is_per_data_point:
        raise NoNetworkError(f"{name} has no encoder: its guide has parameters per data point.")
    for site, of in sites.items():
        if not _parameters(_inner(of)):
            kind = type(unwrap(of["fn"])).__name__
            raise NoNetworkError(f"{name} has no encoder: q({site}) is a {kind}, whose parameters torch does not name.")
    families = {f"q({site})": type(_inner(sites[site])).__name__ for site in sites}
    return module, dict(zip(("x", "given"), args, strict=False)), families


def decoder(pair: Pair, args: tuple[Tensor, ...]) -> tuple[Decoder, dict[str, Tensor], dict[str, str]]:
    """Return the decoder, its inputs by name, and an empty description.

    :raises NoNetworkError: if there is no latent, or the mean of x is no function of the latents of a data point
    """
    name = type(pair).__name__
    with eval_mode(pair):
        sites = latent_sites(posterior_trace(pair, args))
    if not sites:
        raise NoNetworkError(f"{name} has no decoder: it has no latent.")
    if shared := [site for site in sites if not is_local(sites[site])]:
        raise NoNetworkError(f"{name} has no decoder: all data points share {', '.join(shared)}.")
    inputs = {site: sites[site]["value"] for site in sites} | dict(zip(["given"], args[1:], strict=False))
    module, means = Decoder(pair, list(sites), args[0]), []
    try:
        for seed in (0, 1):
            with eval_mode(pair, seed):
                means.append(module(*inputs.values())["mean"])
    except UndefinedError as error:
        raise NoNetworkError(f"{name} has no decoder: {error}") from None
    if not torch.equal(*means):
        raise NoNetworkError(f"{name} has no decoder: it feeds a sample of one part of x into the next.")
    return module, inputs, {}
