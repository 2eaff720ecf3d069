"""Figures of deterministic codes: denoised images, activations of units, sparsity and contraction."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from data import Dataset
from gallery.figures.style import BLUE, GREY, INK, ORANGE, array, dress, figure, label_ends, limits, number, show, tile
from inference import Pair, encode

__all__ = ["activations", "contraction", "denoised", "sparsity"]

TITLE_ROWS = 2000  # data points at most for a number in a title


def denoised(pair: Pair, dataset: Dataset, levels: Sequence[float] | None = None, n: int = 8, seed: int = 0) -> Figure:
    """Draw images above their reconstructions E[x | z], clean and at several levels of corruption, in n columns.

    The noise is the same at all levels. The error is the squared error to the clean image.

    :param pair: has `corrupt(x, u, level)`, `denoise(x')`, and the `corruption` and `level` of its training
    :param levels: by default half the level of the pair, that level, and the midpoint between it and 1
    """
    levels = sorted({pair.level / 2, pair.level, (1 + pair.level) / 2}) if levels is None else levels
    x = dataset.x[:TITLE_ROWS]
    u = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)).to(x)
    images, rows = [], []
    for level in (None, *levels):  # clean first
        corrupted = x if level is None else pair.corrupt(x, u, level)
        clean = pair.denoise(corrupted)
        error = (clean - x).square().sum(1).mean().item()
        images += [corrupted[:n], clean[:n]]
        rows += ["x" if level is None else f"x′, level\n{number(level, '.3g')}", f"E[x | z], error\n{error:.3g}"]
    picture = tile(torch.cat(images).clamp(*limits(x)), dataset.shape, len(images[0]))
    fig = figure(6.6, 5.2 * picture.shape[0] / picture.shape[1] + 0.6)
    title = f"Trained on {pair.corruption.replace('_', ' ')} corruption of level {number(pair.level, '.3g')}\n"
    title += f"error: squared, summed over pixels, mean of {len(x)} {dataset.split} images"
    show(fig.add_subplot(), picture, limits(x), title, rows)
    return fig


def activations(pairs: dict[str, Pair], dataset: Dataset, n: int = 10) -> Figure | None:
    """Draw the codes of n images as square images, one row per pair.

    :param pairs: name -> pair with one latent site, its code
    :return: None unless the data are images and every code has 9, 16, 25, ... units
    """
    x = dataset.x[:TITLE_ROWS]
    codes = {name: list(encode(pair, x).values()) for name, pair in pairs.items()}
    sides = {name: round(code[0][0].numel() ** 0.5) for name, code in codes.items()}
    flat = all(len(code) == 1 and code[0][0].numel() == sides[name] ** 2 >= 9 for name, code in codes.items())
    if not (dataset.is_image and flat):
        return None
    chosen = torch.arange(min(n, len(x)))
    labels = None if dataset.labels is None else dataset.labels[: len(x)]
    if labels is not None and (labels >= 0).any():  # the first image of each class, up to n classes
        chosen = torch.stack([(labels == y).nonzero()[0, 0] for y in labels[labels >= 0].unique()[:n]])
    fig = figure(7.2, 0.85 + 1.08 * len(pairs) + 0.25)
    axes = fig.subplots(1 + len(pairs), 1, squeeze=False).flat
    show(axes[0], tile(x[chosen], dataset.shape, len(chosen)), limits(x), f"{dataset.split} images".capitalize())
    for ax, (name, (z,)) in zip(axes[1:], codes.items(), strict=True):
        z, side = z.flatten(1), sides[name]
        high = z[chosen].max().item() or 1.0
        low, on = min(0.0, z.min().item()), (z != 0).sum(1).double().mean().item()
        title = f"{name}: {side * side} units, mean {number(z.mean().item(), '.2g')}, "
        title += f"{number(on, '.4g')} of a code not zero; " if on < side * side else ""
        title += f"white {number(low, '.2g')}, black {number(high, '.2g')}"
        show(ax, tile(z[chosen], (side, side), len(chosen)), (low, high), title)
    return fig


def sparsity(rho: float = 0.25, means: Tensor | None = None) -> Figure:
    """Draw KL(rho || rho_hat) in nats over rho_hat in (0, 1), and the units of a code on the curve.

    :param rho: the target activation
    :param means: (units,), the mean activation of every unit
    """
    fig = figure(5.4, 3.2)
    ax = dress(fig.add_subplot(), f"KL(ρ ‖ ρ̂) at ρ = {rho:g}", "mean activation ρ̂ of a unit", "KL, nats")

    def kl(r: np.ndarray) -> np.ndarray:
        return rho * np.log(rho / r) + (1 - rho) * np.log((1 - rho) / (1 - r))

    grid = np.linspace(0, 1, 1001)[1:-1]
    ax.plot(grid, kl(grid), color=BLUE, linewidth=1.4)
    ax.axvline(rho, color=GREY, linewidth=0.8, linestyle=":")
    if means is not None:
        r = array(means).clip(grid[0], grid[-1])
        ax.scatter(r, kl(r), s=10, color=ORANGE, alpha=0.6, linewidths=0, zorder=3)
        ax.set_title(f"{ax.get_title(loc='left')}, and {len(r)} units, of mean {r.mean():.3f}", loc="left", fontsize=10)
    right = 1.0 if means is None else min(1.0, max(3 * rho, 1.1 * means.max().item()))
    first, last = kl(right * np.array([0.02, 0.98]))
    ax.set(xlim=(0, right), ylim=(-0.02 * last, 1.05 * max(first, last)))
    return fig


def contraction(paths: dict[str, Sequence[tuple[float, float]]]) -> Figure:
    """Draw |dh / dx|_F^2 against the reconstruction error along training, so that pairs compare at equal error.

    :param paths: name of a pair -> (squared error, mean squared norm) along training, in order
    """
    fig = figure(6.4, 3.6)
    ax = dress(
        fig.add_subplot(), "Squared norm of the Jacobian along training", "squared error per image", "|dh/dx|², mean"
    )
    colours = [BLUE, ORANGE, INK, GREY]
    ends = []
    for i, (name, path) in enumerate(paths.items()):
        error, norm = np.array(path).T
        ax.plot(error, norm, "o-", color=colours[i % len(colours)], linewidth=1.4, markersize=3)
        ends.append((norm[-1], name, colours[i % len(colours)]))
    ax.set_ylim(0)
    ax.invert_xaxis()
    label_ends(ax, ends)
    return fig
