"""Figures of generated data: samples, reconstructions, and the decoder's mean over a plane of codes."""

from typing import Any

import pyro.distributions as dist
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from data import Dataset
from gallery.figures.info import decode, info_of
from gallery.figures.style import BLUE, GREEN, ORANGE, array, dress, figure, limits, number, scalar_limits, show, tile
from inference import Pair, log_evidence, reconstruct, sample
from inference.pairs.info import PairInfo
from inference.pairs.sites import INDEPENDENT, unwrap

__all__ = ["manifold", "pairs", "reconstructions", "samples", "three_views"]

MIN_WIDTH = 4.0  # inches, for the title; half of it in height leaves space for the labels of the axes


def samples(pair: Pair, dataset: Dataset, n: int = 30, seed: int = 0, each: int = 10) -> Figure:
    """Draw samples from the model.

    Images: the mean E[x | z] and a sample x of each, and the parameter of the likelihood if it is not the mean; one row
    per class if the model conditions on a class. Vectors: samples over data.

    :param n: number of images
    :param each: images of each class, if the model conditions on a class
    :raises InferenceError: if the prior is flat
    """
    info = info_of(pair, dataset)
    if not dataset.is_image:
        return _clouds(pair, dataset, seed)
    given, rows, columns = None, [], min(n, 10)
    if info.conditions_on_class and dataset.classes is not None:
        given = torch.arange(dataset.classes, device=dataset.x.device).repeat_interleave(each)
        rows, columns, n = [str(y) for y in range(dataset.classes)], each, len(given)
    elif info.conditional:
        few = dataset.head(n)
        given, n = few.given, len(few)
    drawn = sample(pair, dataset.x, n, given, seed)
    what = "z ~ p(z | y), a row for each class y" if rows else "z ~ p(z)"
    panels = [(f"Mean E[x | z] of {n} draws {what}", drawn["mean"]), ("A sample x of each", drawn["x"])]
    parameter = _parameter(info, drawn, given)
    if parameter is not None:
        panels.insert(0, ("Parameter λ(z) of the continuous Bernoulli: not its mean", parameter))
    return _panels(panels, dataset, columns, rows)


def _parameter(info: PairInfo, drawn: dict[str, Tensor], given: Tensor | None) -> Tensor | None:
    """Return the parameter of the continuous Bernoulli at drawn latents, (n, d); None for another likelihood."""
    (fn, *others) = info.likelihood
    if others or not isinstance(fn, dist.ContinuousBernoulli):
        return None
    latents = {name: drawn[name] for name in info.prior}
    likelihood: Any = unwrap(decode(info.pair, info.args[0], latents, given), INDEPENDENT)
    return likelihood.probs


def three_views(pair: Pair, dataset: Dataset, n: int = 10, seed: int = 0) -> Figure | None:
    """Draw parameter, mean and a sample of p(x | z) at the same n draws of z, in three rows.

    :return: None unless the data are images under a continuous Bernoulli, whose parameter is not its mean
    """
    info = info_of(pair, dataset)
    given = dataset.head(n).given if info.conditional else None
    drawn = sample(pair, dataset.x, n if given is None else len(given), given, seed)
    parameter = _parameter(info, drawn, given)
    if not dataset.is_image or parameter is None:
        return None
    picture = tile(torch.cat([parameter, drawn["mean"], drawn["x"]]), dataset.shape, len(parameter))
    height, width = picture.shape[:2]
    fig = figure(max(MIN_WIDTH, 0.6 * len(parameter) + 1.1), 0.6 * len(parameter) * height / width + 0.45)
    title = f"p(x | z), a continuous Bernoulli, at {len(parameter)} draws of z"
    show(fig.add_subplot(), picture, limits(dataset.x), title, ["parameter λ(z)", "mean E[x | z]", "sample x"])
    return fig


def _panels(panels: list[tuple[str, Tensor]], dataset: Dataset, columns: int, rows: list[str]) -> Figure:
    pictures = [(title, tile(images, dataset.shape, columns)) for title, images in panels]
    height, width = pictures[0][1].shape[:2]
    if rows:  # side by side
        fig = figure(3.1 * len(panels) + 0.3, 3.1 * height / width + 0.6)
        axes = fig.subplots(1, len(panels), squeeze=False).flat
        pictures = [(title.replace(", a row", ",\na row").replace(": not", ":\nnot"), p) for title, p in pictures]
    else:
        fig = figure(5.6, (5.6 * height / width + 0.35) * len(panels))
        axes = fig.subplots(len(panels), 1, squeeze=False).flat
    for i, (ax, (title, picture)) in enumerate(zip(axes, pictures, strict=True)):
        show(ax, picture, limits(dataset.x), title, rows if i == 0 else ())
    return fig


def pairs(axes: list[Axes], clouds: list[tuple[str, str, Tensor]], between: tuple[float, float]) -> None:
    """Scatter point sets over the planes (x_1, x_2), (x_1, x_3), ... on square axes.

    :param clouds: (label, colour, (n, d)) of each set
    :param between: the limits of all axes
    """
    d = clouds[0][2].shape[1]
    planes = [(i, j) for i in range(d) for j in range(i + 1, d)]
    for ax, (i, j) in zip(axes, planes, strict=True):
        for label, colour, x in clouds:
            ax.scatter(array(x[:, i]), array(x[:, j]), s=4, color=colour, alpha=0.5, linewidths=0, label=label)
        dress(ax, xlabel=f"x{chr(0x2081 + i)}", ylabel=f"x{chr(0x2081 + j)}")
        ax.set(xlim=between, ylim=between, aspect="equal")


def _clouds(pair: Pair, dataset: Dataset, seed: int) -> Figure:
    """Draw up to 2000 data points and equally many samples: a histogram, or planes of the first four coordinates."""
    few = dataset.head(2000)
    x, given = few.x, few.given if info_of(pair, dataset).conditional else None
    drawn = sample(pair, x, len(x), given, seed)["x"].reshape(len(x), -1)
    d = min(4, x.shape[1])
    if d == 1:
        fig = figure(5.6, 3.2)
        title = f"{len(x)} draws from the model and {len(x)} data points"
        ax = dress(fig.add_subplot(), title, "x", "density, per unit of x")
        low, high = scalar_limits(array(torch.cat([x, drawn])))
        for label, colour, values in (("data", BLUE, x), ("draws from the model", ORANGE, drawn)):
            ax.hist(
                array(values)[:, 0],
                50,
                range=(low, high),
                density=True,
                histtype="step",
                color=colour,
                label=label,
                linewidth=1.4,
            )
        if given is None:
            grid = torch.linspace(low, high, 200).to(x).unsqueeze(-1)
            with torch.no_grad():
                evidence = log_evidence(pair, grid)
            if evidence is not None:
                ax.plot(array(grid)[:, 0], array(evidence.exp()), color=GREEN, label="p(x), exact")
        ax.legend(frameon=False, fontsize=8)
        return fig
    columns = d * (d - 1) // 2
    fig = figure(2.9 * min(3, columns) + 0.2, 3.1 * -(-columns // 3) + 0.2)
    axes = list(fig.subplots(-(-columns // 3), min(3, columns), squeeze=False).flat)
    low, high = scalar_limits(array(torch.cat([x, drawn])[:, :d]))
    pairs(axes, [("draws from the model", ORANGE, drawn[:, :d]), ("data", BLUE, x[:, :d])], (low, high))
    seam = "\n" if columns == 1 else " "  # a single panel is narrower than the title
    axes[0].set_title(f"{len(x)} draws from the model{seam}under {len(x)} data points", loc="left", fontsize=10)
    handles, names = axes[0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", frameon=False, fontsize=8, markerscale=3, ncols=2)
    return fig


def reconstructions(pair: Pair, dataset: Dataset, n: int = 10, seed: int = 0) -> Figure:
    """Draw the first n images of the data set above their reconstructions E[x' | z], z ~ q(z | x)."""
    few = dataset.head(n)
    x, given = few.x, few.given if info_of(pair, dataset).conditional else None
    both = torch.cat([x, reconstruct(pair, x, given, seed).reshape(x.shape)])
    picture = tile(both, dataset.shape, len(x))
    height, width = picture.shape[:2]
    fig = figure(max(MIN_WIDTH, 0.7 * len(x) + 0.6), 0.7 * len(x) * height / width + 0.45)
    title = f"{dataset.split} images x, and E[x′ | z] with z ~ q(z | x)"
    show(fig.add_subplot(), picture, limits(dataset.x), title[0].upper() + title[1:], ["x", "E[x′ | z]"])
    return fig


def manifold(pair: Pair, dataset: Dataset, side: int = 20) -> Figure | None:
    """Draw the decoder's mean over the plane of codes, at side x side quantiles of the prior (inverse normal CDF).

    :return: None unless the data are images and the only latent site is z ~ Normal(0, I) in R^2
    """
    info = info_of(pair, dataset)
    if not dataset.is_image or info.conditional or not info.has_standard_normal_plane or len(info.likelihood) > 1:
        return None
    x = dataset.x
    quantiles = (torch.arange(side, dtype=x.dtype, device=x.device) + 0.5) / side
    z = torch.special.ndtri(quantiles)
    grid = torch.stack([z.repeat(side), z.flip(0).repeat_interleave(side)], dim=-1)  # (side^2, 2), top row first
    picture = tile(decode(pair, x, {"z": grid}).mean, dataset.shape, side, gap=1)
    fig = figure(5.4, max(MIN_WIDTH / 2, 5.4 * picture.shape[0] / picture.shape[1]))
    ax = show(fig.add_subplot(), picture, limits(x), f"Mean E[x | z] at {side} × {side} quantiles of the prior of z")
    places = [0.1, 0.25, 0.5, 0.75, 0.9]
    labels = [number(v, ".2f") for v in torch.special.ndtri(torch.tensor(places)).tolist()]
    ax.set_xticks([p * picture.shape[1] - 0.5 for p in places], labels)
    ax.set_yticks([(1 - p) * picture.shape[0] - 0.5 for p in places], labels)
    dress(ax, ax.get_title(loc="left"), "z₁", "z₂")
    return fig
