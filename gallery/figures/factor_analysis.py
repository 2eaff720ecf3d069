"""The figures of factor analysis in the tutorial of Yang Zhi-Han (arXiv 2208.07818): data, experiments 1 and 2."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gallery.figures.pictures import pairs
from gallery.figures.style import BLUE, GREEN, INK, ORANGE, RED, array, dress, figure, label_ends, number

__all__ = ["fa_data", "fa_experiment_1", "fa_experiment_2", "fa_fixed_variance", "fa_one_axis", "fa_prior_samples"]

EDGES = (-7.0, 7.0)
PLANES = ((0, 1), (0, 2), (1, 2))


def fa_data(x_train: Tensor) -> Figure:
    """Draw the data, (n, 3), over each pair of coordinates, on equal square axes."""
    fig = figure(9.0, 3.2)
    axes = list(fig.subplots(1, 3))
    pairs(axes, [("data", BLUE, x_train)], EDGES)
    axes[0].set_title(
        f"{len(x_train)} training data points x in R³ with two factors", loc="left", fontsize=10, color=INK
    )
    return fig


def _curves(ax: Axes, curve: Mapping[str, Sequence[float]], truth: float) -> None:
    ax.plot(curve["step"], curve["elbo"], color=RED, linewidth=0.6, label="ELBO, estimated")
    ax.plot(curve["step"], curve["evidence"], color=GREEN, linewidth=1.6, label="log p(x), exact")
    ax.axhline(truth, color=INK, linewidth=1, linestyle="--", label="log p(x) of the true model")


def fa_experiment_1(
    curve: Mapping[str, Sequence[float]],
    data_test: Tensor,
    snapshots: Mapping[int, Tensor],
    truth: float,
) -> Figure:
    """Draw test ELBO, exact test evidence and that of the true model at each step, in nats per data point.

    Below it, for some steps, draws from the model (orange) under the test data (blue) over all three planes.

    :param curve: lists "step", "elbo", "evidence"
    :param snapshots: number of steps -> (m, 3) draws from the model
    """
    steps, rows = np.asarray(curve["step"]), sorted(snapshots.items())
    fig = figure(9.0, 3.2 + 2.1 * len(rows))
    grid = fig.add_gridspec(1 + len(rows), 3, height_ratios=(3.0, *[2.1] * len(rows)))
    title = "Factor analysis: model and guide trained together, test data"
    ax = dress(fig.add_subplot(grid[0, :]), title, "step", "nats per data point")
    _curves(ax, curve, truth)
    top = max(truth, np.max(curve["elbo"]), np.max(curve["evidence"]))
    ax.set_ylim(truth - 8, top + 0.4)
    ax.set_xlim(steps[0] - 0.01 * steps[-1], steps[-1])
    ax.legend(frameon=False, fontsize=9, loc="lower right")
    for row, (step, x) in enumerate(rows, start=1):
        y = float(np.clip(np.interp(step, steps, curve["evidence"]), *ax.get_ylim()))
        ax.plot(step, y, "o", color=INK, markersize=5)
        ax.annotate(f"{step} steps", (step, y), (6, -12), textcoords="offset points", fontsize=9, color=INK)
        for column, (i, j) in enumerate(PLANES):
            plane = fig.add_subplot(grid[row, column])
            plane.scatter(array(x[:, i]), array(x[:, j]), s=3, color=ORANGE, linewidths=0, alpha=0.7)
            plane.scatter(array(data_test[:, i]), array(data_test[:, j]), s=3, color=BLUE, linewidths=0, alpha=0.5)
            dress(plane, f"after {step} steps" if column == 0 else "", f"x{chr(0x2081 + i)}", f"x{chr(0x2081 + j)}")
            plane.set(xlim=EDGES, ylim=EDGES, aspect="equal", xticks=(-5, 0, 5), yticks=(-5, 0, 5))
    return fig


def fa_one_axis(
    together: Mapping[str, Sequence[float]],
    in_turn: Mapping[str, Sequence[float]],
    phases: Sequence[tuple[int, int, str]],
    truth: float,
) -> Figure:
    """Draw evidence and ELBO of test data over the same steps: guide and model together, and in alternation.

    :param together: the curve of `simultaneous`: lists "step", "elbo", "evidence"
    :param in_turn: the curve of `alternating`
    :param phases: (first step, last step, "guide" or "model") of the alternation; phases of the guide are grey
    :param truth: the evidence of the true parameters
    """
    fig = figure(9.0, 4.0)
    ax = dress(fig.add_subplot(), "Together or in turn, from the same start", "step", "test data, nats per data point")
    for start, stop, part in phases:
        if part == "guide":
            ax.axvspan(start, stop, color="#E8E8E8", zorder=0)
    ax.axhline(truth, color=INK, linewidth=1, linestyle="--")
    ends = [(truth, f"true parameters {number(truth, '.3f')}", INK)]
    for curve, colour, words in ((together, GREEN, "together"), (in_turn, RED, "in turn (grey: guide)")):
        ax.plot(curve["step"], curve["elbo"], color=colour, linewidth=0.8, alpha=0.5)
        ax.plot(curve["step"], curve["evidence"], color=colour, linewidth=1.8)
        ends.append((curve["evidence"][-1], f"{words} {number(curve['evidence'][-1], '.3f')}", colour))
    ax.set(ylim=(truth - 5, truth + 0.4), xlim=(0, max(in_turn["step"][-1], together["step"][-1])))
    label_ends(ax, ends)
    return fig


def fa_experiment_2(
    curve: Mapping[str, Sequence[float]],
    phases: Sequence[tuple[int, int, str]],
    truth: float,
    em: Sequence[float] | None = None,
) -> Figure:
    """Draw test ELBO and exact evidence as guide and model are trained in turn, and below the gap.

    All values are in nats per data point.

    :param curve: lists "step", "elbo" (estimated), "evidence" (exact) and, if known, "gap" (exact)
    :param phases: (first step, last step, "guide" or "model"); phases of the guide are grey
    :param em: the evidence of the test data before EM and after each of its iterations, drawn in a further panel
    """
    fig = figure(9.6 if em is not None else 7.4, 5.0)
    grid = fig.add_gridspec(
        2, 2 if em is not None else 1, height_ratios=(3, 1), width_ratios=(3, 1)[: 1 + (em is not None)]
    )
    top = fig.add_subplot(grid[0, 0])
    bottom = fig.add_subplot(grid[1, 0], sharex=top)
    for ax in (top, bottom):
        for k, (start, stop, _) in enumerate(p for p in phases if p[2] == "guide"):
            ax.axvspan(start, stop, color="#E8E8E8", zorder=0, label="guide only" if k == 0 else None)
    _curves(top, curve, truth)
    known = "gap" in curve
    kind = "exact" if known else "evidence − estimated ELBO"
    gap = np.asarray(curve["gap"]) if known else np.subtract(curve["evidence"], curve["elbo"])
    bottom.plot(curve["step"], gap, color=RED, linewidth=1)
    dress(top, "Factor analysis: guide and model trained in turn, test data", "", "nats per data point")
    dress(bottom, f"Gap KL(q(z | x) ‖ p(z | x)), {kind}", "step", "nats per data point")
    top.set(ylim=(-8.0, -3.8), xlim=(min(curve["step"]), max(curve["step"])))
    top.tick_params(labelbottom=False)
    low, high = np.quantile(gap[len(gap) // 20 :], [0.02, 0.98])  # the gap of the first steps may be far larger
    bottom.set_ylim(min(0.0, 1.1 * low), 1.1 * high or 1.0)
    fig.legend(*top.get_legend_handles_labels(), frameon=False, fontsize=9, loc="outside lower center", ncols=4)
    if em is not None:
        side = dress(fig.add_subplot(grid[0, 1], sharey=top), "Exact EM", "iteration", "")
        side.plot(range(len(em)), em, color=GREEN, linewidth=1.6)
        side.set_xscale("symlog", linthresh=1)
        side.axhline(truth, color=INK, linewidth=1, linestyle="--")
        side.tick_params(labelleft=False)
    return fig


def fa_prior_samples(results: Mapping[int, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw the error of log p(x) estimated by the mean of p(x | z) over prior draws, one line per latent dimension.

    :param results: number of factors -> lists "draws", "error" (of log p(x)) and "se", nats per data point
    """
    fig = figure(6.4, 4.2)
    title = "log p(x) from draws of the prior minus exact log p(x), by the number of factors d"
    ax = dress(fig.add_subplot(), title, "draws of the prior", "error, nats per data point")
    for i, (d, of) in enumerate(results.items()):
        colour, label = colormaps["viridis"](i / max(1, len(results))), f"d = {d}"
        ax.errorbar(of["draws"], of["error"], of["se"], fmt="o-", markersize=4, color=colour, label=label)
    ax.axhline(0, color=INK, linewidth=1, linestyle="--")
    ax.set(xscale="log")
    ax.legend(frameon=False, fontsize=9, labelcolor=INK)
    return fig


def fa_fixed_variance(points: Sequence[Mapping[str, Any]], truth: float) -> Figure:
    """Draw the cost of a guide of fixed variance: log p(x) and ELBO of test data, nats per data point, over it.

    :param points: for each variance {"variance", "elbo", "evidence"}, the last two lists over seeds; medians are drawn,
        and every seed
    :param truth: the evidence of the true parameters
    """
    fig = figure(6.0, 4.0)
    title = "The cost of a fixed variance: ELBO and exact log p(x) of test data"
    ax = dress(fig.add_subplot(), title, "variance of every factor under the guide", "nats per data point")
    at = [point["variance"] for point in points]
    for name, label, colour in (("evidence", "log p(x) of the fitted model", GREEN), ("elbo", "ELBO, exact", RED)):
        values = np.array([point[name] for point in points])
        ax.plot(at, np.median(values, axis=1), "-", color=colour, linewidth=1.4, label=f"{label}, median over seeds")
        for seed in values.T:
            ax.plot(at, seed, "o", color=colour, markersize=3.5, alpha=0.6)
    ax.axhline(truth, color=INK, linewidth=1, linestyle="--", label="log p(x), true parameters")
    ax.set_xscale("log")
    fig.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2)
    return fig
