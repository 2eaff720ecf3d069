"""Figures of semi-supervised classification: error by number of labels, and decision regions on a plane of codes."""

import statistics
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from gallery.figures.style import BLUE, CLASSES, GREEN, GREY, INK, ORANGE, RED, dress, figure, label_ends, log_ticks

__all__ = ["labels_grow", "margins", "parted_plane", "reliability"]


def labels_grow(results: list[dict[str, Any]]) -> Figure:
    """Draw the error on test images over the number of labels: the median over label sets, and a dot for each set.

    :param results: the result of `gallery.ledger.experiments.ss_vae.errors`
    """
    fig = figure(7.6, 4.2)
    title = "All images with few labels (M2), and the labelled images alone"
    ax = dress(fig.add_subplot(), title, "labels", "error on test images")
    counts = sorted({row["labels"] for row in results})
    ends = []
    names = [key for key in results[0] if key not in ("labels", "draw")]
    for colour, name in zip((BLUE, GREEN, ORANGE, RED, GREY, INK), names, strict=False):
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


def reliability(results: dict[str, Any]) -> Figure:
    """Draw accuracy over the probability of the most probable class, with dots as large as their share of the data.

    :param results: by classifier, the result of `inference.evaluation.classification.calibration`
    """
    fig = figure(4.1 * len(results) + 0.4, 4.0)
    axes = fig.subplots(1, len(results), sharey=True, squeeze=False)[0]
    for ax, (name, of) in zip(axes, results.items(), strict=True):
        dress(ax, f"{name}: {of['accuracy']:.1%} right, ECE {of['ece']:.3f}", "probability of the most probable class")
        ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
        total = sum(group["n"] for group in of["bins"])
        for group in of["bins"]:
            size = 3 + 16 * (group["n"] / total) ** 0.5
            at = group["confidence"], group["accuracy"]
            ax.plot(*at, "o", color=BLUE, alpha=0.7, markersize=size, clip_on=False)  # those at 1 are whole
        ax.set(xlim=(0, 1.03), ylim=(0, 1.03), aspect="equal")
    axes[0].set_ylabel("fraction that is right", fontsize=9, color=INK)
    return fig


def margins(results: dict[str, Any]) -> Figure:
    """Draw two classes in a plane with the boundary of each classifier; for a support vector machine also its margin.

    :param results: the result of `gallery.ledger.experiments.margins.margins`
    """
    codes, labels = np.array(results["codes"]), np.array(results["labels"])
    (left, bottom), (right, top) = results["between"]
    fig = figure(3.4 * len(results["classifiers"]) + 0.2, 3.7)
    axes = fig.subplots(1, len(results["classifiers"]), sharey=True)
    for ax, (name, of) in zip(axes, results["classifiers"].items(), strict=True):
        scores = np.array(of["scores"])
        grid = np.linspace(left, right, scores.shape[1]), np.linspace(bottom, top, scores.shape[0])
        ax.contourf(*grid, scores > 0, levels=[-0.5, 0.5, 1.5], colors=[BLUE, ORANGE], alpha=0.15)
        ax.contour(*grid, scores, levels=[0], colors=[INK], linewidths=1.4)
        if "support" in of:
            ax.contour(*grid, scores, levels=[-1, 1], colors=[INK], linewidths=0.8, linestyles="--")
            on = codes[of["support"]]
            ax.scatter(*on.T, s=46, facecolors="none", edgecolors=INK, linewidths=0.7)
        for label, colour in zip(results["classes"], (BLUE, ORANGE), strict=True):
            ax.scatter(*codes[labels == label].T, s=10, color=colour, linewidths=0)
        dress(ax, f"{name}: {of['error']:.1%} wrong", "first principal component")
        ax.set(xlim=(left, right), ylim=(bottom, top))
    axes[0].set_ylabel("second", fontsize=9, color=INK)
    return fig
