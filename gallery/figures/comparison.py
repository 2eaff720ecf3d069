"""Ways to fit one model side by side: how near to the truth, how soon, and at what noise."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from gallery.figures.curves import _window
from gallery.figures.style import BLUE, CLASSES, GREY, INK, ORANGE, dress, figure, label_ends, number

PARTS = {"model": ORANGE, "guide": BLUE}  # whose weights a gradient is of


def _logarithmic(ax: Axes) -> None:
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())


def bound(result: dict) -> Figure | None:
    """The ELBO while fits go on, against their seconds, a line for each seed, and the exact evidence where it is known:
    one line if it is the same for all, else dashed, that of the weights a fit is at. None if no row was followed.

    :param result: what compare.json holds
    """
    curves: dict[str, dict[str, list[np.ndarray]]] = {"elbo": {}, "evidence": {}}
    for row in result["rows"]:
        for key, found in curves.items():
            points = [(p["seconds"], p[key]) for p in row.get("curve", [])[1:] if p.get(key) is not None]
            if not points and row.get("curve") and key in row:  # judged alone, as what is known at the end only
                points = [(row["seconds"], row[key]["value"])]
            if points:
                found.setdefault(row["label"], []).append(np.array(points).T)
    series = [curve for found in curves.values() for lines in found.values() for curve in lines]
    if not series:
        return None
    truth = np.concatenate([y for lines in curves["evidence"].values() for _, y in lines] or [[]])
    fixed = len(truth) > 0 and np.ptp(truth) < 1e-6 * max(1.0, abs(truth[0]))
    if fixed:
        curves["evidence"] = {}
    labels = dict.fromkeys([*curves["elbo"], *curves["evidence"]])
    colours = {label: CLASSES[i % len(CLASSES)] for i, label in enumerate(labels)}
    told = []
    for label, lines in (curves["evidence"] | curves["elbo"]).items():
        key = "elbo" if label in curves["elbo"] else "evidence"
        judged = [row[key]["value"] for row in result["rows"] if row["label"] == label and key in row]
        words = f"{label}{', log p(x)' if key == 'evidence' else ''} {number(np.median(judged), '#.5g')}"
        told.append((float(np.median([y[-1] for _, y in lines])), words, colours[label]))
    fig = figure(8.4, 4.4)
    dashed = "" if fixed or not len(truth) else "; dashed: log p(x) of what is fitted, exact"
    ax = fig.subplots()
    errors = [row["elbo"]["mc_se"] for row in result["rows"] if "elbo" in row]
    drawn = f"; curves by few draws, numbers by {result['judge_draws']} (MC error {max(errors):.1g})" if errors else ""
    dress(ax, f"{result['model']} on {result['data']}{dashed}", f"seconds of fitting, one thread{drawn}")
    ax.set_ylabel(f"ELBO of {result['split']} data, nats per data point", fontsize=9, color=INK)
    _logarithmic(ax)
    ax.set_ylim(*_window([(np.linspace(0, 2, len(y)) ** 2, y) for _, y in series]))
    if fixed:
        ax.axhline(truth[0], color=INK, linewidth=0.9)
        told.append((truth[0], f"log p(x) {number(truth[0], '#.5g')}", INK))
    for key, style in (("elbo", "-"), ("evidence", "--")):
        for label, lines in curves[key].items():
            for x, y in lines:
                ax.plot(x, y, style if len(x) > 1 else "o", color=colours[label], linewidth=1.2, alpha=0.8)
    label_ends(ax, told)
    return fig


def variance(result: dict) -> Figure | None:
    """Variance and signal-to-noise ratio of the gradients of every objective, at the same weights and over the same
    minibatches, those of model and guide apart; a point for each seed. None if no noise was measured.

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
        _logarithmic(ax)
        ax.grid(axis="y", color=GREY, linewidth=0.3)
        for shift, (part, colour) in zip((-0.12, 0.12), PARTS.items(), strict=True):
            found = [(row["noise"].get(part, {}).get(key), labels.index(row["label"]) + shift) for row in rows]
            points = np.array([point for point in found if point[0]])  # there is no logarithm of no noise, no signal
            if len(points):
                ax.plot(*points.T, "o", color=colour, markersize=4)
        low, high = ax.get_xlim()
        wider = max(1.0, (10 * low / high) ** 0.5)  # a decade is seen at least
        ax.set_xlim(low / wider, high * wider)
    at = ", ".join(dict.fromkeys(row["at"] for row in rows))
    axes[0].set_title(f"{result['model']}: at the weights of {at}", loc="left", fontsize=10, color=INK)
    axes[1].set_title("model", loc="left", fontsize=10, color=PARTS["model"])
    axes[1].set_title("guide", loc="right", fontsize=10, color=PARTS["guide"])
    axes[0].set_yticks(range(len(labels)), labels)
    axes[0].set_ylim(len(labels) - 0.5, -0.5)
    return fig
