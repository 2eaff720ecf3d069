"""Figure of a lesson: one or two quantities of every row of its comparisons, with the rows in words.

It is drawn from compare.json while the site is written.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from gallery.figures.comparison import logarithmic
from gallery.figures.style import BLUE, GREEN, GREY, INK, ORANGE, RED, dress, figure

__all__ = ["lesson"]

COLOURS = (BLUE, ORANGE, GREEN, RED, GREY)  # which stay apart on a dark page, where pictures are inverted


def lesson(results: list[dict[str, Any]], shown: dict[str, str], names: dict[str, str]) -> Figure:
    """Draw one or two quantities of every row in words, a dot for each seed with its Monte Carlo error.

    The rows of a comparison stand in the order of the first quantity, the best first. The same words have the same
    colour in all comparisons.

    :param results: contents of compare.json, drawn one under the other
    :param shown: path of the quantity in a row, such as "elbo/value" -> words
    :param names: label of a row -> words
    """
    groups = [_by_label(result, list(shown)) for result in results]
    heights = [0.62 + 0.4 * len(group) for group in groups]
    colours: dict[str, str] = {}
    for group in groups:  # a row that an earlier comparison has keeps its colour; others take those that are left
        left = [colour for colour in COLOURS if colour not in {colours.get(label) for label in group}]
        colours |= dict(zip([label for label in group if label not in colours], left, strict=False))
    fig = figure(10.0, 0.5 + sum(heights))
    axes = fig.subplots(len(results), len(shown), squeeze=False, sharey="row", height_ratios=heights)
    for line, (result, group) in enumerate(zip(results, groups, strict=True)):
        for column, words in enumerate(shown.values()):
            ax = dress(axes[line, column], "", words if line == len(results) - 1 else "")
            ax.xaxis.label.set_fontsize(12)
            values = [value for rows in group.values() for value, _ in rows[column]]
            spread = max(values, default=1.0) / max(min(values, default=1.0), 1e-300)
            if min(values, default=-1.0) > 0 and spread > 10:
                logarithmic(ax)
                if spread > 100:
                    ax.xaxis.set_major_locator(LogLocator())
            else:
                ax.xaxis.set_major_locator(MaxNLocator(5))
            for place, (label, rows) in enumerate(group.items()):
                for value, error in rows[column]:
                    ax.errorbar(value, place, xerr=error, color=colours[label], fmt="o", markersize=7, alpha=0.8)
            ax.tick_params(labelsize=11)
            ax.grid(axis="x", color=GREY, linewidth=0.3)
        axes[line, 0].set_yticks(range(len(group)), [names.get(label, label) for label in group])
        axes[line, 0].tick_params(axis="y", labelsize=12, length=0)
        axes[line, 0].set_ylim(len(group) - 0.5, -0.5)
        axes[line, 0].set_title(f"{result['model']} on {result['data']}", loc="left", fontsize=12, color=INK)
    return fig


def _by_label(result: dict[str, Any], paths: list[str]) -> dict[str, list[list[tuple[float, float | None]]]]:
    """Return by label (value, Monte Carlo error) for each path; the best median of the first path comes first."""
    groups: dict[str, list[list[tuple[float, float | None]]]] = {}
    for row in result["rows"]:
        errors = [f"{path.removesuffix('value')}mc_se" if path.endswith("/value") else None for path in paths]
        numbers = [
            (_number(row, path), None if error is None else _number(row, error))
            for path, error in zip(paths, errors, strict=True)
        ]
        if numbers[0][0] is not None:
            of = groups.setdefault(row["label"], [[] for _ in paths])
            for column, (number_at, error) in zip(of, numbers, strict=True):
                if number_at is not None:
                    column.append((number_at, error))
    sign = 1 if paths[0].startswith("gap") else -1
    return dict(sorted(groups.items(), key=lambda item: sign * float(np.median([v for v, _ in item[1][0]]))))


def _number(row: dict[str, Any], path: str) -> float | None:
    """Return the number at a path of a row, such as "elbo/value"; None if there is none."""
    found: Any = row
    for key in path.split("/"):
        found = (found or {}).get(key) if isinstance(found, dict | None) else None
    return found
