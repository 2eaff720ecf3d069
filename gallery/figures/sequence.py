"""Figures of images with one observed site per step, from the top: animated samples, and completions."""

import torch
from matplotlib.figure import Figure
from pyro import poutine
from torch import Tensor

from data import Dataset
from gallery.figures.info import info_of
from gallery.figures.style import figure, limits, show, tile
from inference import Pair, eval_mode, sample
from inference.pairs.run import arguments
from inference.pairs.sites import Site

__all__ = ["HIDDEN", "complete", "completion", "sequence_animation"]

HIDDEN = 0.15  # the grey of later or hidden rows, between white (0) and black (1)


def sequence_animation(pair: Pair, dataset: Dataset, side: int = 10, seed: int = 0) -> list[Figure] | None:
    """Draw the mean E[x_t | x_1:t-1, z_1:t] of side x side samples: figure k shows the first k steps.

    A sample of x_t is the input of the next step.

    :return: one figure per step; None unless the data are grey images with several observed sites, unconditional
    """
    info = info_of(pair, dataset)
    if not info.generates_rows(dataset.shape) or info.conditional:
        return None
    mean = sample(pair, dataset.x, side * side, seed=seed)["mean"]
    steps, hidden, frames = len(info.data_sites), _grey(dataset), []
    for k in range(1, steps + 1):
        drawn = mean.clone()
        drawn[:, info.width_of(k) :] = hidden
        frames.append(figure(5.0, 5.25))
        title = f"Mean E[x_t | x_1:t−1, z_1:t] of {side * side} draws, t = 1 to {k} of {steps}"
        show(frames[-1].add_subplot(), tile(drawn, dataset.shape, side), limits(dataset.x), title)
    return frames


def _grey(dataset: Dataset) -> float:
    low, high = limits(dataset.x)
    return low + HIDDEN * (high - low)


def complete(pair: Pair, dataset: Dataset, seed: int = 0) -> Tensor:
    """Return x with the second half of its steps replaced by the mean E[x_t | x_1:t-1, z_1:t] of a sample, (n, d).

    The model is conditioned on the first half, and on the latents of that half drawn from the guide. The guide has to
    filter: its latents depend on earlier steps only. The second half of its input is set to 0.
    """
    info = info_of(pair, dataset)
    half, steps = len(info.data_sites) // 2, len(info.data_sites)
    shown = dataset.x.clone()
    shown[:, info.width_of(half) :] = 0
    with eval_mode(pair, seed):
        args = arguments(pair, shown, dataset.given)
        guide: dict[str, Site] = poutine.trace(pair.guide).get_trace(*args).nodes
        known = dict(zip(info.data_sites, shown.reshape(len(shown), steps, -1)[:, :half].unbind(1), strict=False))
        known |= {name: guide[name]["value"] for name in info.early_sites}
        model = poutine.condition(poutine.uncondition(pair.model), data=known)
        drawn: dict[str, Site] = poutine.trace(model).get_trace(*args).nodes
    means = [drawn[name]["fn"].mean for name in info.data_sites[half:]]
    return torch.cat([shown[:, : info.width_of(half)], *means], dim=1)


def completion(pair: Pair, dataset: Dataset, n: int = 8, times: int = 3, seed: int = 0) -> Figure | None:
    """Draw the first n images in columns: the image, its first half, and completions of it.

    :param times: number of completions
    :return: None unless the data are grey images with several observed sites, and the guide filters
    """
    info = info_of(pair, dataset)
    if not (info.generates_rows(dataset.shape) and info.filters):
        return None
    few, half = dataset.head(n), len(info.data_sites) // 2
    masked = few.x.clone()
    masked[:, info.width_of(half) :] = _grey(dataset)
    completed = [complete(pair, few, seed + i) for i in range(times)]
    picture = tile(torch.cat([few.x, masked, *completed]), dataset.shape, len(few))
    fig = figure(0.6 * len(few) + 1.0, 0.6 * len(few) * picture.shape[0] / picture.shape[1] + 0.6)
    title = f"{dataset.split.capitalize()} images x, shown to step {half} of {len(info.data_sites)},\n"
    title += f"and E[x_t | x_1:t−1, z_1:t] of {times} draws of the steps after it"
    show(fig.add_subplot(), picture, limits(dataset.x), title, ["x", "shown", *["completed"] * times])
    return fig
