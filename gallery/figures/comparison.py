"""Figures of a comparison of inference algorithms: ELBO against seconds, and variance of the gradients."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from gallery.figures.curves import window
from gallery.figures.style import BLUE, CLASSES, GREY, INK, ORANGE, dress, figure, label_ends, number
from inference.evaluation.metrics import GLOBAL_DRAWS

__all__ = ["bound", "logarithmic", "variance"]

SHORTEST = 1e-6  # seconds
FAR = 1e5  # ratio of the ends of an axis
PARTS = {"model": ORANGE, "guide": BLUE}  # the parts of the gradient


def logarithmic(ax: Axes) -> None:
    """Set a logarithmic x axis with ticks at 1, 2 and 5."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())


def bound(result: dict) -> Figure | None:
    """Draw the ELBO against the seconds of the fits, one line per seed, and the exact evidence if it is known.

    The evidence is one line if it is the same for all fits, else one dashed line per fit at its weights. A point of a
    line is an estimate from few draws, and can lie above the evidence. A dot is the ELBO of the final evaluation, with
    2 standard errors of its draws to either side.

    :param result: the content of compare.json
    :return: None if no row has a curve
    """
    curves: dict[str, dict[str, list[np.ndarray]]] = {"elbo": {}, "evidence": {}}
    for row in result["rows"]:
        for key, by_label in curves.items():
            points = [(_time(p), p[key]) for p in row.get("curve", [])[1:] if p.get(key) is not None]
            if not points and row.get("curve") and row.get(key):  # evaluated at the end only
                points = [(_time(row), row[key]["value"])]
            if points:
                by_label.setdefault(row["label"], []).append(np.array(points).T)
    series = [curve for by_label in curves.values() for lines in by_label.values() for curve in lines]
    if not series:
        return None
    truth = np.concatenate([y for lines in curves["evidence"].values() for _, y in lines] or [[]])
    fixed = len(truth) > 0 and np.ptp(truth) < 1e-6 * max(1.0, abs(truth[0]))
    if fixed:
        curves["evidence"] = {}
    labels = dict.fromkeys([*curves["elbo"], *curves["evidence"]])
    colours = {label: CLASSES[i % len(CLASSES)] for i, label in enumerate(labels)}
    ends = []
    for label in curves["evidence"] | curves["elbo"]:
        key = "elbo" if label in curves["elbo"] else "evidence"
        values = [row[key]["value"] for row in result["rows"] if row["label"] == label and key in row]
        words = f"{label}{', log p(x)' if key == 'evidence' else ''} {number(np.median(values), '#.5g')}"
        ends.append((float(np.median(values)), words, colours[label]))
    fig = figure(8.4, 4.4)
    dashed = "" if fixed or not len(truth) else "; dashed: exact log p(x) of the fitted model"
    ax = fig.subplots()
    finals = [row for row in result["rows"] if "elbo" in row and row.get("curve")]
    dress(
        ax, f"{result['model']} on {result['data']}{dashed}{_drawn(result, finals)}", "seconds of fitting, one thread"
    )
    ax.set_ylabel(f"ELBO of {result['split']} data, nats per data point", fontsize=9, color=INK)
    logarithmic(ax)
    low, high = window([(np.linspace(0, 2, len(y)) ** 2, y) for _, y in series])
    tops = [row["elbo"]["value"] + 2 * row["elbo"]["mc_se"] for row in finals]
    ax.set_ylim(low, max([high, *(top + 0.06 * (high - low) for top in tops)]))
    if fixed:
        ax.axhline(truth[0], color=INK, linewidth=0.9)
        ends.append((truth[0], f"log p(x) {number(truth[0], '#.5g')}", INK))
    for key, style in (("elbo", "-"), ("evidence", "--")):
        for label, lines in curves[key].items():
            for x, y in lines:
                ax.plot(x, y, style if len(x) > 1 else "o", color=colours[label], linewidth=1.2, alpha=0.6)
    for row in finals:
        value, error = row["elbo"]["value"], 2 * row["elbo"]["mc_se"]
        ax.errorbar(_time(row), value, error, fmt="o", color=colours[row["label"]], markersize=4, capsize=3, zorder=3)
    _widen(ax, 1.01)  # times of one step may differ by their last digit
    label_ends(ax, ends)
    return fig


def _widen(ax: Axes, ratio: float) -> tuple[float, float]:
    """Widen a logarithmic x axis to ends of this ratio, at least; return the ends before."""
    low, high = ax.get_xlim()
    wider = max(1.0, (ratio * low / high) ** 0.5)
    ax.set_xlim(low / wider, high * wider)
    return low, high


def _time(row: dict) -> float:
    """Return the seconds of a row or of a point of its curve, of which a logarithmic axis takes no 0."""
    return max(float(row["seconds"]), SHORTEST)


def _drawn(result: dict, finals: list[dict]) -> str:
    """Return a line of text on the draws behind lines and dots; empty without an estimated ELBO."""
    if not finals:
        return ""
    joint = "se" not in finals[0]["elbo"]  # draws that all data share
    few = f"{GLOBAL_DRAWS} joint draws" if joint else "1 draw per data point"
    above = ", so it can lie above log p(x)" if any(row.get("evidence") for row in finals) else ""
    return f"\nline: {few}{above}; dot: {result['judge_draws']} draws, ± 2 Monte Carlo standard errors"


def variance(result: dict) -> Figure | None:
    """Draw variance and signal-to-noise ratio of the gradients of every objective, one point per seed.

    Weights and minibatches are the same for all objectives. The gradients of model and guide are separate.

    :param result: what compare.json holds
    """
    rows = [row for row in result["rows"] if "noise" in row]
    if not rows:
        return None
    labels = list(dict.fromkeys(row["label"] for row in rows))
    fig = figure(8.4, 1.3 + 0.34 * len(labels))
    axes = fig.subplots(1, 2, sharey=True)
    quantities = {"variance": "variance, squared nats per data point", "snr": "signal-to-noise ratio"}
    for ax, (key, words) in zip(axes, quantities.items(), strict=True):
        dress(ax, "", words)
        logarithmic(ax)
        ax.grid(axis="y", color=GREY, linewidth=0.3)
        for shift, (part, colour) in zip((-0.12, 0.12), PARTS.items(), strict=True):
            values = [(row["noise"].get(part, {}).get(key), labels.index(row["label"]) + shift) for row in rows]
            points = np.array([point for point in values if point[0]])  # zero has no logarithm
            if len(points):
                ax.plot(*points.T, "o", color=colour, markersize=4)
        low, high = _widen(ax, 10)
        if high > FAR * low:  # ticks at 2 and 5 would overlap
            ax.xaxis.set_major_locator(LogLocator())
    at = ", ".join(dict.fromkeys(row["at"] for row in rows))
    axes[0].set_title(f"{result['model']}: at the weights of {at}", loc="left", fontsize=10, color=INK)
    for part, side in (("model", "left"), ("guide", "right")):
        if any(part in row["noise"] for row in rows):
            axes[1].set_title(part, loc=side, fontsize=10, color=PARTS[part])
    axes[0].set_yticks(range(len(labels)), labels)
    axes[0].set_ylim(len(labels) - 0.5, -0.5)
    return fig
