"""Figure of the learning curve of a fit."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gallery.figures.style import BLUE, GREY, INK, ORANGE, dress, figure, label_ends, number

__all__ = ["learning_curve", "window"]

SPLITS = {"validation": ORANGE, "test": BLUE}
# further metrics: label, format, and end of the axis if it is fixed
FURTHER = {
    "entropy": ("entropy of\nq(y | x), nats", ".3f", None),
    "accuracy": ("accuracy, y matched\nto the classes", ".3f", 1.0),
}


def window(series: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Return limits of y that show the last three quarters of the epochs, and the first where it is near them.

    :param series: (x, y) of each line
    """
    last = max(x.max() for x, _ in series)
    values = np.concatenate([y for _, y in series])
    tail = values if last < 4 else np.concatenate([y[x > last / 4] for x, y in series])
    low, high = np.quantile(tail, [0.02, 0.98])
    span = high - low or 1e-3 * max(1.0, abs(high))
    low, high = max(values.min(), low - 0.6 * span), min(values.max(), high + 0.6 * span)
    return low - 0.06 * span, high + 0.06 * span


def learning_curve(history: list[dict], title: str = "") -> Figure:
    """Draw the ELBO of test and validation data after every epoch, and -loss over it, in nats per data point.

    If the history has them, panels below show entropy and accuracy of q(y | x) for a discrete latent y. Early epochs
    far below the rest are outside the range, and a line of text gives their values. A guide that is a point has no
    ELBO: the figure then shows the log-likelihood of the data given their codes.

    :param history: a dictionary for every epoch, as in history.jsonl: "epoch", "loss" and, where there are any,
        "validation" and "test" with their "elbo" or "reconstruction" and "evidence", and for a discrete y with
        "entropy", the mean entropy of q(y | x) in nats, and "accuracy", with the values of y matched to the classes
    """
    further = [key for key in FURTHER if _finite(history, "validation", key) or _finite(history, "test", key)]
    fig = figure(7.2, 3.6 + 1.6 * len(further))
    top, *below = fig.subplots(
        1 + len(further), 1, sharex=True, height_ratios=[2, *[1] * len(further)], squeeze=False
    ).flat
    end = _bounds(top, history, title)
    for ax, key in zip(below, further, strict=True):
        end = max(end, _further(ax, history, key))
    fig.axes[-1].set_xlabel("epoch", fontsize=9, color=INK)
    top.set_xlim(0, 1.01 * end)
    top.xaxis.set_major_locator(MaxNLocator(integer=True))
    return fig


def _finite(history: list[dict], split: str, key: str) -> list[tuple[int, float]]:
    """Return (epoch, value) for every finite value of the split."""
    values = [(line["epoch"], line[split][key]) for line in history if key in line.get(split, {})]
    return [(epoch, value) for epoch, value in values if math.isfinite(value)]


def _further(ax: Axes, history: list[dict], key: str) -> float:
    """Draw a panel of a further metric of validation and test data, from 0, and return the last epoch."""
    words, form, highest = FURTHER[key]
    dress(ax, "", "", words)
    finite = [(split, colour, _finite(history, split, key)) for split, colour in SPLITS.items()]
    lines = [(split, colour, np.array(points).T) for split, colour, points in finite if points]
    for _, colour, (x, y) in lines:
        ax.plot(x, y, color=colour, linewidth=1.4, marker="o" if len(x) <= 15 else "", markersize=3.5)
    ax.set_ylim(0, highest or 1.1 * max(y.max() for *_, (_, y) in lines) or 1.0)
    label_ends(ax, [(y[-1], f"{split}: {number(y[-1], form)}", colour) for split, colour, (_, y) in lines])
    return max(x.max() for *_, (x, _) in lines)


def _bounds(ax: Axes, history: list[dict], title: str) -> float:
    """Draw the panel of bounds, and return the last epoch."""
    plain = all(line.get("loss_is_bound", line.get("beta", 1.0) >= 1.0) for line in history)
    looser = any(line.get("beta", 1.0) > 1.0 for line in history)
    point = any("reconstruction" in line.get("test", {}) for line in history)
    label = f"training: −loss{', not a bound' if not plain else ', a looser bound' if looser else ''}"
    shown = [(label, GREY, "-", [(line["epoch"] - 0.5, -line["loss"]) for line in history])]
    for split, colour in SPLITS.items():
        for key, label, style in (
            ("evidence", "log p(x), exact", "--"),
            ("elbo", "ELBO", "-"),
            ("reconstruction", "log p(x | z)", "-"),
        ):
            if not (point and key == "evidence"):
                shown.append((f"{split}: {label}", colour, style, _finite(history, split, key)))
    lines = []
    for label, colour, style, points in shown:
        finite = np.array([p for p in points if math.isfinite(p[1])])
        if len(finite):
            lines.append((label, colour, style, finite[:, 0], finite[:, 1]))

    dress(ax, title, "", f"{'log-likelihood' if point else 'ELBO'}, nats per data point")
    if not lines:
        ax.text(0.5, 0.5, "no epoch has a finite value", ha="center", color=INK, transform=ax.transAxes)
        return 1.0
    low, high = window([(x, y) for *_, x, y in lines])
    for _, colour, style, x, y in lines:
        marker = "o" if len(x) <= 15 and style == "-" else ""
        ax.plot(x, y, style, color=colour, linewidth=1.4, marker=marker, markersize=3.5)
    ax.set_ylim(low, high)
    label_ends(ax, [(y[-1], f"{label} {number(y[-1], '#.5g')}", colour) for label, colour, *_, y in lines])
    first = [(label.partition(":")[0], y[0]) for label, _, style, _, y in lines if style == "-"]
    below = ", ".join(f"{split} {number(value, '#.5g')}" for split, value in first if value < low)
    if below:
        ax.text(0.98, 0.03, f"↓ below at epoch 1: {below}", ha="right", color=INK, fontsize=8, transform=ax.transAxes)
    return max(x.max() for *_, x, _ in lines)
