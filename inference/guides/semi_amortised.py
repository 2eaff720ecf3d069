"""Semi-amortised guides: what one network says of every datum is where some gradient steps start, for each datum alone.

The network is fitted as it is, with the model. In evaluation its distribution q(z | x) is refined: the parameters of
its family ascend the ELBO of that datum for a few steps of Adam, and are kept where other draws than those of the steps
say that they are surely better, for few and noisy steps may well make them worse. The bound then has a smaller
amortisation gap, on any data, at the price of the steps.

    Kim, Wiseman, Miller, Sontag and Rush, Semi-amortized variational autoencoders, 2018 (who also fit through the
    steps, which is not done here).
    Marino, Yue and Mandt, Iterative amortized inference, 2018.
"""

import copy
from collections.abc import Callable
from functools import partial

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.evaluation.gap import ROWS
from inference.guides.per_datum import family, fit_per_data_point, log_w
from inference.pairs.info import inspect_pair
from inference.pairs.run import cuda_devices, eval_mode
from inference.pairs.sites import latent_sites

RATE, DRAWS = 0.05, 8  # Adam's at first, and of q for each datum in every step
JUDGED, ERRORS = 64, 3  # draws that tell which is better, and by how many standard errors it has to be


def check_amortised(pair: nn.Module, args: tuple) -> None:
    """:raises InferenceError: if the guide does not read one continuous latent, of a family, off each datum"""
    with eval_mode(pair):
        seen = inspect_pair(pair, args)
        sites = list(seen.guide_sites.values())
        simple = len(sites) == 1 and not (seen.enumerated or seen.has_global_latent or seen.delta_sites)
        if simple and not seen.is_per_data_point:
            family(sites[0]["fn"])
            return
    raise InferenceError(
        f"the guide of {type(pair).__name__} does not read the distribution of one continuous latent off each datum: "
        "there is nothing for semi_amortised to refine. Use own."
    )


def semi_amortised(steps: int, pair: nn.Module, x: Tensor, given: Tensor | None = None) -> nn.Module:
    """A deep copy of a pair that refines its guide by so many steps in evaluation mode, whatever the data; in training
    mode it is as it was."""
    new = copy.deepcopy(pair)
    new.guide = partial(_refined, new, new.guide, steps)
    return new


def _refined(pair: nn.Module, own: Callable, steps: int, x: Tensor, *given: Tensor, total: int | None = None) -> None:
    if pair.training:
        return own(x, *given, total=total)
    found: list[list[Tensor]] = []
    with poutine.block():  # the sites of guide and model within are not this guide's
        ((name, site),) = latent_sites(poutine.trace(own).get_trace(x, *given)).items()
        every, make = family(site["fn"])
        for rows in torch.arange(len(x), device=x.device).split(max(1, ROWS // JUDGED)):
            args, start = tuple(a[rows] for a in (x, *given)), [p[rows] for p in every]
            end, _ = family(fit_per_data_point(pair, args, name, start, make, DRAWS, steps, RATE))
            with torch.random.fork_rng(cuda_devices(pair)):
                before = log_w(pair, args, name, make(start), make(start), JUDGED)
            gain = log_w(pair, args, name, make(end), make(end), JUDGED) - before  # of the same noise, spent by now
            better = gain.mean(0) > ERRORS * gain.std(0) / JUDGED**0.5
            both = zip(start, end, strict=True)
            found.append([torch.where(better.view(-1, *[1] * (a.dim() - 1)), b, a) for a, b in both])
    with pyro.plate("data", total or len(x), subsample_size=len(x)):
        pyro.sample(name, make([torch.cat(parts) for parts in zip(*found, strict=True)]))
