"""What the width of a code does: to the error on training and test images, and to its length in bits."""

from matplotlib import colormaps
from matplotlib.figure import Figure

from gallery.figures.style import BLUE, GREY, INK, ORANGE, dress, figure, label_ends, log_ticks

ERROR = "squared error per image"


def overfitting(found: dict) -> Figure:
    """Error on test images, and dashed on the training images, over the width of the code; a pair of lines for each
    number of training images.

    :param found: what `gallery.experiments.autoencoder` writes
    """
    fig = figure(6.6, 4.0)
    ax = dress(fig.add_subplot(), "Error on test images, and dashed on those fitted to", "width of the code", ERROR)
    ends = []
    for colour, n in zip((ORANGE, BLUE), sorted({point["images"] for point in found["widths"]}), strict=False):
        points = [point for point in found["widths"] if point["images"] == n]
        widths = [point["width"] for point in points]
        ax.plot(widths, [point["test"] for point in points], "o-", color=colour, linewidth=1.4, markersize=4)
        ax.plot(widths, [point["train"] for point in points], "--", color=colour, linewidth=1)
        ends.append((points[-1]["test"], f"{n:,} images", colour))
    ax.axhline(found["mean_image"], color=GREY, linewidth=1, linestyle=":")
    ends.append((found["mean_image"], "the mean image", GREY))
    log_ticks(ax, widths)
    ax.set_ylim(0)
    label_ends(ax, ends)
    return fig


def compression(found: dict) -> Figure:
    """Error of test images decoded from rounded codes over the bits of a code; a line for each width, a point on it for
    each number of levels.

    :param found: what `gallery.experiments.autoencoder` writes
    """
    fig = figure(6.6, 4.0)
    ax = dress(fig.add_subplot(), "Error of images decoded from rounded codes", "bits per image", ERROR)
    widths = sorted({point["width"] for point in found["codes"]})
    for i, width in enumerate(widths):
        points = [point for point in found["codes"] if point["width"] == width]
        colour, label = colormaps["viridis"](i / max(1, len(widths))), f"{width} units"
        bits, errors = [point["bits"] for point in points], [point["test"] for point in points]
        ax.plot(bits, errors, "o-", color=colour, linewidth=1.4, markersize=4, label=label)
    ax.axhline(found["mean_image"], color=GREY, linewidth=1, linestyle=":", label="the mean image")
    ax.set_xscale("log")
    ax.set_ylim(0)
    ax.legend(frameon=False, fontsize=9, labelcolor=INK)
    return fig
