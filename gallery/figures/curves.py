"""How training went."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .style import BLUE, GREEN, GREY, INK, ORANGE, dress, figure, label_ends


def _window(series: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Limits of y that show the last three quarters of the epochs well, and what is near them of the first."""
    last = max(x.max() for x, _ in series)
    values = np.concatenate([y for _, y in series])
    tail = np.concatenate([y[x > last / 4] for x, y in series])
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
    names = {"elbo": "ELBO", "reconstruction": "log p(x | z)", "evidence": "log p(x), exact"}
    plain = all(line.get("loss_is_bound", line.get("beta", 1.0) == 1.0) for line in history)
    shown = [
        (f"training: −loss{'' if plain else ', not a bound'}", GREY, [(h["epoch"] - 0.5, -h["loss"]) for h in history])
    ]
    for split, key, colour in (
        ("test", "evidence", GREEN),
        ("validation", "elbo", ORANGE),
        ("validation", "reconstruction", ORANGE),
        ("test", "elbo", BLUE),
        ("test", "reconstruction", BLUE),
    ):
        points = [(h["epoch"], h[split][key]) for h in history if key in h.get(split, {})]
        shown.append((f"{split}: {names[key]}", colour, points))
    lines = [(label, colour, np.array([p for p in points if math.isfinite(p[1])])) for label, colour, points in shown]
    lines = [(label, colour, *points.T) for label, colour, points in lines if len(points)]

    fig = figure(7.2, 3.6)
    point = any("reconstruction" in line.get("test", {}) for line in history)
    ax = dress(fig.add_subplot(), title, "epoch", f"{'log-likelihood' if point else 'ELBO'}, nats per datum")
    if not lines:
        ax.text(0.5, 0.5, "no epoch has a finite value", ha="center", color=INK, transform=ax.transAxes)
        return fig
    low, high = _window([(x, y) for _, _, x, y in lines])
    for _, colour, x, y in lines:
        ax.plot(x, y, color=colour, linewidth=1.4, marker="o" if len(x) <= 15 else "", markersize=3.5)
    ax.set_ylim(low, high)
    ax.set_xlim(0, max(x.max() for _, _, x, _ in lines) * 1.01)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_ends(ax, [(y[-1], f"{label}\n{y[-1]:.5g}", colour) for label, colour, _, y in lines])
    below = [(y[0], f"{label.split(':')[0]} {y[0]:.5g}") for label, _, _, y in lines if y[0] < low]
    if below:
        first = ", ".join(text for _, text in below)
        ax.text(0.02, 0.03, f"↓ after epoch 1: {first}", color=INK, fontsize=8, transform=ax.transAxes)
    return fig
