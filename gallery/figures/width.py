"""Figures of the width of a code: error on training and test images, and bits per image."""

from typing import Any

from matplotlib import colormaps
from matplotlib.figure import Figure

from gallery.figures.style import BLUE, GREY, INK, ORANGE, dress, figure, label_ends, log_ticks

__all__ = ["compression", "overfitting"]

ERROR = "squared error per image"


def overfitting(results: dict[str, Any]) -> Figure:
    """Draw the error on test images, and dashed on training images, over the width of the code.

    Each number of training images has a pair of lines.

    :param results: the content of widths.json, which `gallery.ledger.experiments.autoencoder` writes
    """
    fig = figure(6.6, 4.0)
    ax = dress(fig.add_subplot(), "Error on test images; dashed: training images", "width of the code", ERROR)
    ends = []
    for colour, n in zip((ORANGE, BLUE), sorted({point["images"] for point in results["widths"]}), strict=False):
        points = [point for point in results["widths"] if point["images"] == n]
        widths = [point["width"] for point in points]
        ax.plot(widths, [point["test"] for point in points], "o-", color=colour, linewidth=1.4, markersize=4)
        ax.plot(widths, [point["train"] for point in points], "--", color=colour, linewidth=1)
        ends.append((points[-1]["test"], f"{n:,} images", colour))
    ax.axhline(results["mean_image"], color=GREY, linewidth=1, linestyle=":")
    ends.append((results["mean_image"], "the mean image", GREY))
    log_ticks(ax, widths)
    ax.set_ylim(0)
    label_ends(ax, ends)
    return fig


def compression(results: dict[str, Any]) -> Figure:
    """Draw the error of test images decoded from rounded codes over the bits of a code.

    Each width has a line, and each number of levels a point on it.

    :param results: the content of widths.json, which `gallery.ledger.experiments.autoencoder` writes
    """
    fig = figure(6.6, 4.0)
    ax = dress(fig.add_subplot(), "Error of images decoded from rounded codes", "bits per image", ERROR)
    widths = sorted({point["width"] for point in results["codes"]})
    for i, width in enumerate(widths):
        points = [point for point in results["codes"] if point["width"] == width]
        colour, label = colormaps["viridis"](i / max(1, len(widths))), f"{width} units"
        bits, errors = [point["bits"] for point in points], [point["test"] for point in points]
        ax.plot(bits, errors, "o-", color=colour, linewidth=1.4, markersize=4, label=label)
    ax.axhline(results["mean_image"], color=GREY, linewidth=1, linestyle=":", label="the mean image")
    ax.set_xscale("log")
    ax.set_ylim(0)
    ax.legend(frameon=False, fontsize=9, labelcolor=INK)
    return fig
