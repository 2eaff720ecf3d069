"""Figure of linear regression: least squares, and the posterior over lines."""

import math
from typing import Any

import pyro.distributions as dist
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pyro import poutine

from data import Dataset
from gallery.figures.style import BLUE, GREEN, GREY, INK, RED, array, dress, figure
from inference import Pair, eval_mode
from inference.pairs.capabilities import exact
from inference.pairs.sites import Site

__all__ = ["regression"]


def _ellipse(ax: Axes, normal: dist.MultivariateNormal, sd: float, **style: Any) -> None:
    """Draw the points at Mahalanobis distance `sd` from the mean."""
    angle = torch.linspace(0, 2 * math.pi, 200).to(normal.mean)
    points = normal.mean.unsqueeze(-1) + sd * normal.scale_tril @ torch.stack([angle.cos(), angle.sin()])
    ax.plot(*array(points), **style)


def regression(pair: Pair, dataset: Dataset, lines: int = 40, draws: int = 2000, seed: int = 0) -> Figure:
    """Draw data, least squares line, lines from the guide and its 95 % predictive band, and the posterior of the line.

    The right panel has intercept and slope, with 1 and 2 standard deviations of the guide and, if known, of the exact
    posterior. The pair has a global site "w" (intercept, slope), one covariate and a method `least_squares`.

    :param dataset: the training data
    :param lines: lines drawn from the guide
    :param draws: draws for the predictive band
    """
    x, c = dataset.x, dataset.covariates
    assert c is not None
    with eval_mode(pair, seed):
        sites: dict[str, Site] = poutine.trace(pair.guide).get_trace(x, c).nodes
        q = sites["w"]["fn"]
        w = q.sample((draws,))  # (draws, 2)
        noise = sites["noise"]["fn"].sample((draws,)) if "noise" in sites else x.new_full((draws,), pair.noise)
        grid = torch.linspace(c.min().item(), c.max().item(), 100).to(c).unsqueeze(-1)
        means = pair.design(grid) @ w.T  # (100, draws)
        predicted = means + noise * torch.randn_like(noise)  # equal noise at every covariate gives a smooth band
        squares = pair.least_squares(x, c)
    at, point = array(grid)[:, 0], isinstance(q, dist.Delta)
    fig = figure(9.2, 3.9)
    left, right = fig.subplots(1, 2, width_ratios=(5, 4))

    low, high = predicted.quantile(torch.tensor([0.025, 0.975]).to(x), dim=1)
    left.fill_between(at, array(low), array(high), color=RED, alpha=0.12, linewidth=0, label="95 % of new x")
    for i in range(1 if point else lines):
        label = ("the MAP line" if point else f"{lines} lines drawn from the guide") if i == 0 else None
        left.plot(
            at, array(means[:, i]), color=RED, linewidth=1.5 if point else 0.6, alpha=1 if point else 0.4, label=label
        )
    left.scatter(
        array(c)[:, 0], array(x)[:, 0], s=8, color=BLUE, linewidths=0, alpha=0.7, label=f"{len(x)} data points"
    )
    fit = array(pair.design(grid) @ squares)
    left.plot(at, fit, color=INK, linewidth=1.2, linestyle="--", label="least squares")
    dress(left, "Lines and predictions under the guide", "covariate c", "x").legend(frameon=False, fontsize=8)

    if posterior := exact(pair, "posterior"):
        truth = posterior(x, c)
        for sd in (1, 2):
            label = "exact posterior" if sd == 1 else None
            _ellipse(right, truth, sd, color=GREEN, linewidth=4, alpha=0.5, label=label)
    if point:
        right.plot(*array(q.mean), marker="o", color=RED, linestyle="", label="guide: a point")
    else:
        for sd in (1, 2):
            label = "guide" if sd == 1 else None
            _ellipse(right, q, sd, color=RED, linewidth=1.4, label=label)
    right.plot(*array(squares), marker="x", color=INK, linestyle="", label="least squares")
    right.margins(0.08)
    dress(right, "Posterior of the line: 1 and 2 standard deviations", "intercept w₀", "slope w₁")
    right.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3)
    right.grid(color=GREY, alpha=0.2, linewidth=0.5)
    return fig
