"""Figure of a line by several methods: intervals of its coefficients, and how often these contain the truth."""

import math
from typing import Any

from matplotlib.figure import Figure

from gallery.figures.style import BLUE, GREY, INK, ORANGE, dress, figure

__all__ = ["intervals"]

COEFFICIENTS = {"intercept": BLUE, "slope": ORANGE}


def intervals(results: dict[str, Any]) -> Figure:
    """Draw intercept and slope with their intervals by each method, and the coverage of the intervals.

    :param results: the content of squares_and_kl.json, which `gallery.ledger.experiments.linear_regression` writes
    """
    names, level = list(results["methods"]), results["level"]
    width = 1.645 if level == 0.9 else math.nan  # standard deviations
    fig = figure(9.6, 3.2)
    axes = fig.subplots(1, 3, sharey=True, width_ratios=(3, 3, 4))
    for i, (ax, (name, colour)) in enumerate(zip(axes, COEFFICIENTS.items(), strict=False)):
        dress(ax, f"{name}, {level:.0%} interval", name)
        ax.axvline(results["truth"][i], color=INK, linewidth=0.8, linestyle="--")
        for row, of in enumerate(results["methods"].values()):
            half = width * of["sd"][i] if "sd" in of else 0
            ax.errorbar(of["mean"][i], row, xerr=half or None, color=colour, fmt="o", markersize=4, linewidth=2)
        ax.margins(0.08)
    last = dress(axes[2], "Data sets whose interval contains the truth", "fraction; lines: ± 2 standard errors")
    last.axvline(level, color=INK, linewidth=0.8, linestyle="--")
    for row, of in enumerate(results["methods"].values()):
        if "covered" not in of:
            last.text(level, row, "a point: no interval", color=GREY, fontsize=9, ha="right", va="center")
            continue
        for p, colour, shift in zip(of["covered"], COEFFICIENTS.values(), (-0.13, 0.13), strict=True):
            error = 2 * math.sqrt(max(p * (1 - p), 1 / of["n"] ** 2) / of["n"])
            last.errorbar(p, row + shift, xerr=error, color=colour, fmt="o", markersize=4, linewidth=1.2)
    last.set_xlim(right=1.02)
    axes[0].set_yticks(range(len(names)), [_label(name, results["methods"][name]) for name in names])
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    return fig


def _label(name: str, of: dict[str, Any]) -> str:
    return f"{name}, {of['n']} data sets" if "n" in of else name
