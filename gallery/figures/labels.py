"""Few labels: how classifiers err as there are more of them, and where they part a plane of codes."""

import statistics

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from gallery.figures.style import BLUE, CLASSES, GREEN, INK, ORANGE, RED, dress, figure, label_ends, log_ticks


def labels_grow(found: list[dict]) -> Figure:
    """Error on test images over the number of labels: the median over draws of labels, and a dot for each draw.

    :param found: what `gallery.experiments.ss_vae.errors` returns
    """
    fig = figure(6.6, 4.0)
    title = "All images and few labels (M2), beside the labelled ones alone"
    ax = dress(fig.add_subplot(), title, "labels", "error on test images")
    counts = sorted({row["labels"] for row in found})
    ends = []
    for colour, name in zip(
        (BLUE, GREEN, ORANGE, RED), [key for key in found[0] if key not in ("labels", "draw")], strict=True
    ):
        middle = [statistics.median(row[name] for row in found if row["labels"] == count) for count in counts]
        ax.plot(counts, middle, "-", color=colour, linewidth=1.4)
        ax.plot(
            [row["labels"] for row in found], [row[name] for row in found], "o", color=colour, markersize=3, alpha=0.5
        )
        ends.append((middle[-1], name, colour))
    log_ticks(ax, counts)
    ax.set_ylim(0)
    label_ends(ax, ends)
    return fig


def parted_plane(found: dict) -> Figure:
    """The plane of codes in the colours of the class that each of two ways puts there, and the labelled codes on it.

    :param found: what `gallery.experiments.ss_vae.plane` returns
    """
    (left, bottom), (right, top) = found["between"]
    codes, labels = np.array(found["codes"]), np.array(found["labels"])
    colours = ListedColormap(CLASSES)
    fig = figure(9.0, 4.6)
    for ax, (name, classes) in zip(fig.subplots(1, 2, sharey=True), found["classes"].items(), strict=True):
        judged = found["accuracy"][name]
        dress(
            ax,
            f"{name}: {judged['value']:.3f} of test codes",
            "z₁",
            "z₂" if ax.get_subplotspec().is_first_col() else "",
        )
        between = (left, right, bottom, top)
        about = {"cmap": colours, "vmin": -0.5, "vmax": len(CLASSES) - 0.5}
        ax.imshow(classes, origin="lower", extent=between, aspect="auto", alpha=0.45, interpolation="nearest", **about)
        ax.scatter(*codes.T, c=labels, s=14, edgecolors="white", linewidths=0.5, **about)
        ax.set(xlim=(left, right), ylim=(bottom, top))
    handles = [ax.scatter([], [], color=CLASSES[k], label=str(k)) for k in sorted(set(labels.tolist()))]
    fig.legend(handles=handles, loc="outside right center", frameon=False, fontsize=9, labelcolor=INK, title="class")
    return fig
