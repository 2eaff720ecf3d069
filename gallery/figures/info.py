"""Inspect a pair beside a data set: what the figures need to know of both, its codes and its decoder."""

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

from data import Dataset
from inference import Pair, encode, eval_mode
from inference.pairs.info import PairInfo, inspect_pair
from inference.pairs.run import Batch
from inference.pairs.sites import Site

__all__ = ["codes_of", "decode", "info_of"]


def info_of(pair: Pair, dataset: Dataset) -> PairInfo:
    """Return the structure of the pair in evaluation mode, from a run on the first two rows of the data set."""
    few = dataset.head(2)
    with eval_mode(pair), pyro.validation_enabled(False):  # pixels may be outside the support of the likelihood
        return inspect_pair(pair, Batch(few.scored(), few.given).args(pair))


def codes_of(info: PairInfo, x: Tensor, given: Tensor | None = None, seed: int = 0) -> Tensor:
    """Return the posterior means of the codes of x, side by side: (n, width)."""
    means = encode(info.pair, x, given, seed)
    return torch.cat([means[name].reshape(len(x), -1) for name in info.codes], dim=1)


def decode(
    pair: Pair, like: Tensor, latents: dict[str, Tensor], given: Tensor | None = None, seed: int = 0
) -> dist.TorchDistribution:
    """Return the distribution p(x | latents) of n data points, for a model with one observed site.

    :param like: data of the shape and type of x, (any, ...); the values are not used
    :param latents: (n, ...) each; the latent sites that are not among them are sampled from the prior
    """
    n = len(next(iter(latents.values())))
    with eval_mode(pair, seed):
        model = poutine.condition(poutine.uncondition(pair.model), data=latents)
        trace = poutine.trace(model).get_trace(*Batch(like.new_zeros(n, *like.shape[1:]), given).args(pair))
    site: Site = trace.nodes["x"]
    return site["fn"]
