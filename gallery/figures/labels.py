"""Figures of semi-supervised classification: error by number of labels, and decision regions on a plane of codes."""

import statistics
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from gallery.figures.style import BLUE, CLASSES, GREEN, INK, ORANGE, RED, dress, figure, label_ends, log_ticks

__all__ = ["labels_grow", "parted_plane"]


def labels_grow(results: list[dict[str, Any]]) -> Figure:
    """Draw the error on test images over the number of labels: the median over label sets, and a dot for each set.

    :param results: the result of `gallery.ledger.experiments.ss_vae.errors`
    """
    fig = figure(6.6, 4.0)
    title = "All images with few labels (M2), and the labelled images alone"
    ax = dress(fig.add_subplot(), title, "labels", "error on test images")
    counts = sorted({row["labels"] for row in results})
    ends = []
    for colour, name in zip(
        (BLUE, GREEN, ORANGE, RED), [key for key in results[0] if key not in ("labels", "draw")], strict=True
    ):
        middle = [statistics.median(row[name] for row in results if row["labels"] == count) for count in counts]
        ax.plot(counts, middle, "-", color=colour, linewidth=1.4)
        ax.plot(
            [row["labels"] for row in results],
            [row[name] for row in results],
            "o",
            color=colour,
            markersize=3,
            alpha=0.5,
        )
        ends.append((middle[-1], name, colour))
    log_ticks(ax, counts)
    ax.set_ylim(0)
    label_ends(ax, ends)
    return fig


def parted_plane(results: dict[str, Any]) -> Figure:
    """Draw the decision regions of two classifiers on a plane of codes, with the labelled codes.

    :param results: the result of `gallery.ledger.experiments.ss_vae.plane`
    """
    (left, bottom), (right, top) = results["between"]
    codes, labels = np.array(results["codes"]), np.array(results["labels"])
    colours = ListedColormap(CLASSES)
    fig = figure(9.0, 4.6)
    for ax, (name, classes) in zip(fig.subplots(1, 2, sharey=True), results["classes"].items(), strict=True):
        accuracy = results["accuracy"][name]
        dress(
            ax,
            f"{name}: {accuracy['value']:.3f} of test codes",
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
