"""Semi-amortised guides: the output of a network is refined by gradient steps, for each data point alone.

The network is fitted with the model as any guide. In evaluation its distribution q(z | x) is refined: the parameters of
its family ascend the ELBO of the data point for a few steps of Adam. They are kept only where fresh draws show a
significant gain, because few and noisy steps may lower the bound. The bound then has a smaller amortisation gap, on any
data, at the price of the steps.

    Kim, Wiseman, Miller, Sontag and Rush, Semi-amortized variational autoencoders, 2018 (who also fit through the
    steps, which is not done here).
    Marino, Yue and Mandt, Iterative amortized inference, 2018.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from inference.errors import InferenceError
from inference.guides.per_data_point import family, fit_per_data_point, log_weights_of
from inference.pairs.info import inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.run import cuda_devices, eval_mode
from inference.pairs.sites import latent_sites

__all__ = ["check_amortised", "semi_amortised"]

LEARNING_RATE, FIT_DRAWS = 0.05, 8  # of Adam at first, and draws of q for each data point in every step
TEST_DRAWS, MIN_STANDARD_ERRORS = 64, 3  # fresh draws that compare before and after, and the least gain
MAX_ROWS = 20_000  # data points times draws evaluated together: bounds the memory


def check_amortised(pair: Pair, args: tuple[Tensor, ...]) -> None:
    """Check that the guide computes the distribution of one continuous latent, of a family, from each data point.

    :raises InferenceError: if it does not
    """
    with eval_mode(pair):
        info = inspect_pair(pair, args)
        sites = list(info.guide_sites.values())
        simple = len(sites) == 1 and not (info.enumerated or info.has_global_latent or info.delta_sites)
        if simple and not info.is_per_data_point:
            family(sites[0]["fn"])
            return
    raise InferenceError(
        f"the guide of {type(pair).__name__} does not compute the distribution of one continuous latent from each data "
        "point: semi_amortised has nothing to refine.",
        ("guides", "own"),
    )


def semi_amortised(steps: int, pair: Pair, x: Tensor, given: Tensor | None = None) -> Pair:
    """Return a deep copy of the pair that refines its guide by `steps` steps, for any data, in evaluation mode only."""
    new: Any = copy.deepcopy(pair)  # Any: its guide is replaced
    new.guide = partial(_refined, new, new.guide, steps)
    return new


def _refined(
    pair: Pair,
    own: Callable[..., None],
    steps: int,
    x: Tensor,
    *given: Tensor,
    total: int | None = None,
) -> None:
    """Run the guide: the model's own in training mode, its refinement in evaluation mode."""
    if pair.training:
        return own(x, *given, total=total)
    chosen: list[list[Tensor]] = []
    with poutine.block():  # the inner sites of guide and model are not sites of this guide
        ((name, site),) = latent_sites(poutine.trace(own).get_trace(x, *given)).items()
        every, make = family(site["fn"])
        for rows in torch.arange(len(x), device=x.device).split(max(1, MAX_ROWS // TEST_DRAWS)):
            args, start = tuple(a[rows] for a in (x, *given)), [p[rows] for p in every]
            end, _ = family(fit_per_data_point(pair, args, name, start, make, FIT_DRAWS, steps, LEARNING_RATE))
            with torch.random.fork_rng(cuda_devices(pair)):  # the same noise before and after
                before = log_weights_of(pair, args, name, make(start), make(start), TEST_DRAWS)
            gain = log_weights_of(pair, args, name, make(end), make(end), TEST_DRAWS) - before
            better = gain.mean(0) > MIN_STANDARD_ERRORS * gain.std(0) / TEST_DRAWS**0.5
            both = zip(start, end, strict=True)
            chosen.append([torch.where(better.view(-1, *[1] * (a.dim() - 1)), b, a) for a, b in both])
    with pyro.plate("data", total or len(x), subsample_size=len(x)):
        pyro.sample(name, make([torch.cat(parts) for parts in zip(*chosen, strict=True)]))
