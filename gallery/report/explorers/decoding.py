"""Run model and guide of a pair at chosen codes and classes, and read what its decoder and its encoder get."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

from inference import eval_mode
from inference.pairs.info import PairInfo
from inference.pairs.run import arguments
from inference.pairs.sites import INDEPENDENT, Site, unwrap

__all__ = ["COMPONENTS", "has_one_code", "likelihood_of", "run_guide", "run_model"]

COMPONENTS = dist.Categorical, dist.OneHotCategorical


def has_one_code(info: PairInfo) -> bool:
    """Return whether the pair has one observed site and one code per data point, of two or more dimensions.

    The model may condition on a class, and on nothing else.
    """
    if info.has_global_latent or len(info.codes) != 1 or len(info.data_sites) != 1 or info.is_per_data_point:
        return False
    site = info.prior.get(info.codes[0])
    if info.component and not isinstance(info.prior[info.component]["fn"], COMPONENTS):
        return False
    one = site is not None and len(site["fn"].event_shape) == 1 and site["fn"].event_shape.numel() > 1
    return one and info.conditional == info.conditions_on_class


@contextmanager
def _inputs(module: nn.Module | None) -> Iterator[list[Tensor]]:
    """Record the first argument of each call of a module."""
    read: list[Tensor] = []
    if module is None:
        yield read
        return
    hook = module.register_forward_pre_hook(lambda _, args: read.extend(args[:1]))
    try:
        yield read
    finally:
        hook.remove()


def run_model(
    info: PairInfo, choice: Tensor, z: Tensor | None = None, seed: int = 0
) -> tuple[Any, Tensor | None, dist.TorchDistribution]:
    """Run the model on n data points.

    :param choice: (n,), the class or component; ignored by a model without them
    :param z: (n, latent_dim); drawn from the prior by default
    :return: (p(z | choice), the input of the decoder, p(x | z, choice))
    """
    pair, latents = info.pair, {} if z is None else {info.codes[0]: z}
    like = info.args[0].new_zeros(len(choice), info.args[0].shape[1])
    if info.component and not info.conditional:
        fn = info.prior[info.component]["fn"]
        latents[info.component] = torch.eye(fn.probs.shape[-1]).to(like)[choice] if fn.event_shape else choice
    with _inputs(pair.decoder) as read, eval_mode(pair, seed):
        model = poutine.condition(poutine.uncondition(pair.model), data=latents)
        given = choice if info.conditional else None
        sites: dict[str, Site] = poutine.trace(model).get_trace(*arguments(pair, like, given)).nodes
    return sites[info.codes[0]]["fn"], next(iter(read), None), sites[info.data_sites[0]]["fn"]


def run_guide(info: PairInfo, x: Tensor, choice: Tensor, network: str = "encoder") -> tuple[Tensor | None, dict]:
    """Run the guide on n data points, without enumeration.

    :param choice: (n,), the class; ignored by a pair that is not conditional
    :param network: name of a network of the pair
    :return: (the input of that network, the sites of the guide)
    """
    pair = info.pair
    with _inputs(getattr(pair, network, None)) as read, eval_mode(pair):
        given = choice if info.conditional else None
        sites: dict[str, Site] = poutine.trace(pair.guide).get_trace(*arguments(pair, x, given)).nodes
    return next(iter(read), None), sites


def likelihood_of(fn: dist.TorchDistribution) -> tuple[str, Any] | None:
    """Return the family of p(x | z) and its standard deviation, None, a number or one for each pixel.

    :param fn: of a few data points
    :return: None for a family that a page does not compute, and for a standard deviation that depends on z
    """
    base = unwrap(fn, INDEPENDENT)
    if isinstance(base, dist.Bernoulli):
        return "bernoulli", None
    if isinstance(base, dist.ContinuousBernoulli):
        return "continuous_bernoulli", None
    if not isinstance(base, dist.Normal) or not torch.equal(base.scale, base.scale[:1].expand_as(base.scale)):
        return None
    scale = base.scale[0]
    return "normal", scale[0].item() if (scale == scale[0]).all() else scale.tolist()
