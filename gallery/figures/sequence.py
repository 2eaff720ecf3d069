"""Images that are told step by step, from the top: drawn one row after the other, and completed from half."""

import torch
from matplotlib.figure import Figure
from pyro import poutine
from torch import Tensor, nn

from data import Dataset
from gallery.figures.info import info_of
from gallery.figures.style import figure, limits, show, tile
from inference import eval_mode, sample
from inference.pairs.run import arguments

HIDDEN = 0.15  # the grey of what is not there yet, or not shown, between white and black


def sequence_animation(pair: nn.Module, dataset: Dataset, side: int = 10, seed: int = 0) -> list[Figure] | None:
    """The mean E[x_t | x_1:t-1, z_1:t] of side x side draws: figure k, of as many as there are steps, has the first k.

    The x_t that is fed back is a sample. None unless data are grey images, told in steps and unconditionally.
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


def complete(pair: nn.Module, dataset: Dataset, seed: int = 0) -> Tensor:
    """The first half of the steps of x as they are, then the mean E[x_t | x_1:t-1, z_1:t] of a draw of the others;
    (n, d).

    The model is conditioned on the first half, and on its latents as the guide draws them. The guide has to be one
    that filters; in place of the other half it is shown 0.
    """
    info = info_of(pair, dataset)
    half, steps = len(info.data_sites) // 2, len(info.data_sites)
    shown = dataset.x.clone()
    shown[:, info.width_of(half) :] = 0
    with eval_mode(pair, seed):
        args = arguments(pair, shown, dataset.given)
        guide = poutine.trace(pair.guide).get_trace(*args)
        known = dict(zip(info.data_sites, shown.reshape(len(shown), steps, -1)[:, :half].unbind(1), strict=False))
        known |= {name: guide.nodes[name]["value"] for name in info.early_sites}
        drawn = poutine.trace(poutine.condition(poutine.uncondition(pair.model), data=known)).get_trace(*args)
    means = [drawn.nodes[name]["fn"].mean for name in info.data_sites[half:]]
    return torch.cat([shown[:, : info.width_of(half)], *means], dim=1)


def completion(pair: nn.Module, dataset: Dataset, n: int = 8, times: int = 3, seed: int = 0) -> Figure | None:
    """The first n images, in columns: whole, the half of each that is shown, and so many completions of it.

    None unless data are grey images, told in steps, and the guide filters.
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
