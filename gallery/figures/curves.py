"""How training went."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .style import BLUE, GREY, INK, ORANGE, dress, figure, label_ends, number


def _window(series: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Limits of y that show the last three quarters of the epochs well, and what is near them of the first."""
    last = max(x.max() for x, _ in series)
    values = np.concatenate([y for _, y in series])
    tail = values if last < 4 else np.concatenate([y[x > last / 4] for x, y in series])
    low, high = np.quantile(tail, [0.02, 0.98])
    span = high - low or 1e-3 * max(1.0, abs(high))
    low, high = max(values.min(), low - 0.6 * span), min(values.max(), high + 0.6 * span)
    return low - 0.06 * span, high + 0.06 * span


def learning_curve(history: list[dict], title: str = "") -> Figure:
    """ELBO of the test and validation data after every epoch, and -loss over it, in nats per datum.

    Early epochs far below the rest are left out of the range, and said to be. Under a guide that is a point there is
    no ELBO: then it is the log-likelihood of the data given their code.

    :param history: a dictionary for every epoch, as in history.jsonl: "epoch", "loss" and, where there are any,
        "validation" and "test" with their "elbo" or "reconstruction" and "evidence"
    """
    plain = all(line.get("loss_is_bound", line.get("beta", 1.0) == 1.0) for line in history)
    point = any("reconstruction" in line.get("test", {}) for line in history)
    label = f"training: −loss{'' if plain else ', not a bound'}"
    shown = [(label, GREY, "-", [(line["epoch"] - 0.5, -line["loss"]) for line in history])]
    for split, colour in (("validation", ORANGE), ("test", BLUE)):
        for key, label, style in (
            ("evidence", "log p(x), exact", "--"),
            ("elbo", "ELBO", "-"),
            ("reconstruction", "log p(x | z)", "-"),
        ):
            if not (point and key == "evidence"):
                points = [(line["epoch"], line[split][key]) for line in history if key in line.get(split, {})]
                shown.append((f"{split}: {label}", colour, style, points))
    lines = [(*look, np.array([p for p in points if math.isfinite(p[1])])) for *look, points in shown]
    lines = [(*look, *points.T) for *look, points in lines if len(points)]

    fig = figure(7.2, 3.6)
    ax = dress(fig.add_subplot(), title, "epoch", f"{'log-likelihood' if point else 'ELBO'}, nats per datum")
    if not lines:
        ax.text(0.5, 0.5, "no epoch has a finite value", ha="center", color=INK, transform=ax.transAxes)
        return fig
    low, high = _window([(x, y) for *_, x, y in lines])
    for _, colour, style, x, y in lines:
        marker = "o" if len(x) <= 15 and style == "-" else ""
        ax.plot(x, y, style, color=colour, linewidth=1.4, marker=marker, markersize=3.5)
    ax.set_ylim(low, high)
    ax.set_xlim(0, 1.01 * max(x.max() for *_, x, _ in lines))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_ends(ax, [(y[-1], f"{label} {number(y[-1], '#.5g')}", colour) for label, colour, *_, y in lines])
    below = [f"{label} {number(y[0], '#.5g')}" for label, _, style, _, y in lines if y[0] < low and style == "-"]
    if below:
        words = f"↓ below at epoch 1: {', '.join(below)}".replace(": ELBO", "").replace(": −loss", "")
        ax.text(0.98, 0.03, words, ha="right", color=INK, fontsize=8, transform=ax.transAxes)
    return fig
