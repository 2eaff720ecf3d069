"""One telling panel of a model that computes its posterior: without text on a card, with axes on its page.

The panel shows the exact posterior, so that no fitted guide is needed. Models with an M step are fitted by EM.
"""

from itertools import cycle
from typing import Any

import pyro.distributions as dist
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pyro import poutine
from scipy.stats import beta

from data import Dataset
from gallery.figures.exact import density
from gallery.figures.style import BLUE, GREEN, GREY, ORANGE, RED, array, dress, figure, number
from gallery.models._kalman import smooth
from gallery.models._quadrature import GridPosterior, HierarchyPosterior
from inference import Pair, eval_mode
from inference.pairs.capabilities import capability, exact
from inference.pairs.run import arguments
from inference.pairs.sites import Site, latent_sites

__all__ = ["CARD", "card"]

CARD = (640, 480)
"""Width and height of a card in pixels, as `save` writes it."""

COLOURS = (BLUE, ORANGE, GREEN, RED)
EM_STEPS = 60
FEW = 8  # data points of a regression, so few that the lines differ
POINTS = 600  # data points in a panel, at most


def card(pair: Pair, train: Dataset, labels: bool = False) -> Figure | None:
    """Draw the panel of an exact model.

    :param pair: fitted here by EM if it has an M step
    :param train: the training data
    :param labels: draw axes, title and legend, for a page; without them the figure has no text and the size of CARD
    :return: None if the model does not compute its posterior
    """
    if exact(pair, "log_evidence") is None or not (exact(pair, "posterior") or exact(pair, "m_step")):
        return None
    fig = figure(8.4, 4.4) if labels else Figure(figsize=(CARD[0] / 110, CARD[1] / 110))
    ax = fig.subplots() if labels else fig.add_axes((0.04, 0.05, 0.92, 0.9))
    with eval_mode(pair), torch.no_grad():
        title, xlabel, ylabel = _draw(ax, pair, train)
    if labels:
        dress(ax, title, xlabel, ylabel)
        if ax.get_legend_handles_labels()[1]:
            low, high = ax.get_ylim()
            ax.set_ylim(low, high + 0.2 * (high - low))  # room for the legend
            ax.legend(frameon=False, fontsize=9, loc="upper left", ncols=2)
    else:
        ax.set_axis_off()
        for line in ax.lines:
            line.set_linewidth(1.8 * line.get_linewidth())
    return fig


def _draw(ax: Axes, pair: Pair, train: Dataset) -> tuple[str, str, str]:
    """Draw the panel that suits the structure of the model, and return title and labels of the axes."""
    x = train.x
    if capability(pair, "least_squares"):
        return _lines(ax, pair, train)
    if exact(pair, "m_step"):
        for _ in range(EM_STEPS):
            statistics = pair.e_step(x)
            pair.m_step(statistics)
        if "transition" in statistics:
            return _states(ax, pair, x)
        if "cross" in statistics:
            return _smoothed(ax, pair, x)
        if "answers" in statistics:
            return _items(ax, pair, x)
        if "y" in statistics:
            return _clusters(ax, pair, x)
        return _spectrum(ax, pair, x) if train.is_image else _cloud(ax, pair, x)
    known = pair.posterior(*arguments(pair, x, train.given))
    if isinstance(known, GridPosterior):
        return _odds(ax, pair, train, known)
    if isinstance(known, HierarchyPosterior):
        return _shrinkage(ax, known)
    if isinstance(known, dist.Dirichlet):
        return _faces(ax, pair, x)
    return _posteriors(ax, pair, x)


def _posteriors(ax: Axes, pair: Pair, x: torch.Tensor) -> tuple[str, str, str]:
    """Draw the prior and the exact posterior of a number z at three values of x."""
    values = x.quantile(torch.tensor([0.1, 0.6, 0.95]).to(x))
    ((name, _),) = latent_sites(poutine.trace(pair.guide).get_trace(x[:1])).items()
    site: Site = poutine.trace(pair.model).get_trace(x[:1]).nodes[name]
    prior: Any = site["fn"]
    reach = 3.2 * prior.stddev.max().item()
    positive = not prior.support.check(torch.tensor(-1.0))
    z = torch.linspace(0.0 if positive else -reach, 1.4 * reach if positive else reach, 600).to(x)
    ax.plot(array(z), array(density(prior, z)), color=GREY, linewidth=1.6, linestyle="--", label="prior p(z)")
    for value, colour in zip(values, COLOURS, strict=False):
        heights = array(density(pair.posterior(value.reshape(1, 1)), z))
        ax.plot(array(z), heights, color=colour, linewidth=2, label=f"p(z | x) at x = {number(value.item(), '.1f')}")
        ax.fill_between(array(z), heights, color=colour, alpha=0.18)
    return "What x says about z: the exact posterior at three values of x", "z", "density, per unit of z"


def _lines(ax: Axes, pair: Pair, train: Dataset) -> tuple[str, str, str]:
    """Draw a few data points, and lines from their exact posterior."""
    assert train.covariates is not None
    x, c = train.x[:FEW], train.covariates[:FEW]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        w = pair.posterior(x, c).sample((40,))
    low, high = c.min().item(), c.max().item()
    grid = torch.linspace(low - 0.6 * (high - low), high + 0.6 * (high - low), 2).to(c).unsqueeze(-1)
    means = array(pair.design(grid) @ w.T)
    for i in range(len(w)):
        label = "lines drawn from the exact posterior" if i == 0 else None
        ax.plot(array(grid[:, 0]), means[:, i], color=RED, alpha=0.35, linewidth=1, label=label)
    ax.scatter(array(c[:POINTS, 0]), array(x[:POINTS, 0]), color=BLUE, s=26, zorder=3, label=f"{FEW} data points")
    return "Many lines are plausible, most of all beyond the data", "covariate", "response"


def _odds(ax: Axes, pair: Pair, train: Dataset, known: GridPosterior) -> tuple[str, str, str]:
    """Draw answers of 0 and 1, and probabilities of a 1 from their exact posterior."""
    assert train.covariates is not None
    c = train.covariates
    with torch.random.fork_rng():
        torch.manual_seed(0)
        w = known.sample((40,))
    low, high = c.min().item(), c.max().item()
    grid = torch.linspace(low - 0.1 * (high - low), high + 0.1 * (high - low), 200).to(c).unsqueeze(-1)
    p = array((pair.design(grid) @ w.T).sigmoid())
    for i in range(len(w)):
        label = "probability of a 1, drawn from the exact posterior" if i == 0 else None
        ax.plot(array(grid[:, 0]), p[:, i], color=RED, alpha=0.35, linewidth=1, label=label)
    ax.scatter(array(c[:POINTS, 0]), array(train.x[:POINTS, 0]), color=BLUE, s=26, zorder=3, label=f"{len(c)} answers")
    return "Answers of yes and no leave many curves plausible", "covariate", "probability of a 1"


def _shrinkage(ax: Axes, known: HierarchyPosterior) -> tuple[str, str, str]:
    """Draw the posterior mean of every effect against the spread, and the posterior of the spread below."""
    tau = torch.linspace(0, 4 * known.c.mean().item() / 1.6, 200).to(known.tau)
    of_tau = known.given_tau(tau)
    for i, effect in enumerate(of_tau.effect.T):
        label = "posterior mean of each effect, given the spread" if i == 0 else None
        ax.plot(array(tau), array(effect), color=COLOURS[i % len(COLOURS)], linewidth=2, label=label)
    density = (of_tau.log_x - (tau / known.tau_scale).square().log1p()).exp()
    low, high = ax.get_ylim()
    floor, height = low - 0.25 * (high - low), 0.3 * (high - low)
    ax.fill_between(
        array(tau),
        floor,
        array(floor + height * density / density.max()),
        color=GREY,
        alpha=0.4,
        label="exact posterior of the spread",
    )
    return "The smaller the spread, the more the effects are pulled together", "spread between schools", "effect"


def _faces(ax: Axes, pair: Pair, x: torch.Tensor) -> tuple[str, str, str]:
    """Draw the posterior of the probability of each face after 20 throws and after all."""
    faces = torch.arange(1, x.shape[1] + 1)
    for n, shift, colour in ((20, -0.2, ORANGE), (len(x), 0.2, BLUE)):
        a = array(pair.posterior(x[:n]).concentration)
        low, high = beta.ppf([[0.025], [0.975]], a, a.sum() - a)  # the marginal of a face is a beta distribution
        label = f"after {n:,} throws: mean, and 95 % of the posterior"
        ax.bar(array(faces) + shift, a / a.sum(), 0.38, color=colour, alpha=0.45, label=label)
        ax.vlines(array(faces) + shift, low, high, color=colour, linewidth=2.5)
    return "The posterior narrows as throws are added", "face", "probability"


def _clusters(ax: Axes, pair: Pair, x: torch.Tensor) -> tuple[str, str, str]:
    """Draw the data in the colours of their components, mixed by the posterior."""
    x = x[:POINTS]
    share = pair.posterior(x).probs
    colours = torch.tensor([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in COLOURS]).to(share)
    mixed = (share @ colours[torch.arange(share.shape[1]) % len(colours)]).clamp(0, 1)
    ax.scatter(array(x[:, 0]), array(x[:, 1]), color=array(mixed), s=22, alpha=0.8)
    means = pair.theta["mean"]
    ax.scatter(array(means[:, 0]), array(means[:, 1]), color="black", marker="+", s=220, linewidth=2.5, label="means")
    return "Each point in the colours of its posterior over components, after EM", "x₁", "x₂"


def _items(ax: Axes, pair: Pair, x: torch.Tensor) -> tuple[str, str, str]:
    """Draw the probability of a right answer to each item against the ability, and the posterior means of abilities."""
    z = torch.linspace(-4, 4, 161).to(x)
    p = array((pair.theta["a"] * (z.unsqueeze(-1) - pair.theta["b"])).sigmoid())
    for j, colour in zip(range(p.shape[1]), cycle((*COLOURS, GREY)), strict=False):
        ax.plot(array(z), p[:, j], color=colour, linewidth=2, label=f"item {j + 1}" if p.shape[1] <= FEW else None)
    means, counts = pair.posterior(x).mean.round(decimals=4).unique(return_counts=True)
    bars = array(0.5 * counts / counts.max())
    ax.bar(array(means), bars, 0.06, color=GREY, alpha=0.6, label="posterior means of the ability, all persons")
    return "Items and the abilities that they measure, after EM", "ability z", "probability of a right answer"


def _states(ax: Axes, pair: Pair, x: torch.Tensor) -> tuple[str, str, str]:
    """Draw a sequence, the posterior mean of its level, and its measurements in the colours of their states."""
    row = x[:1]
    *_, states = pair.expected_counts(row)  # (1, T, states)
    share, levels, t = states[0], pair.theta["mean"], torch.arange(1, x.shape[1] + 1)
    ax.step(array(t), array(share @ levels), where="mid", color=GREY, linewidth=2, label="posterior mean of the level")
    for k, colour in zip(range(len(levels)), COLOURS, strict=False):
        mine = share.argmax(1) == k
        ax.scatter(array(t[mine]), array(row[0, mine]), color=colour, s=60, zorder=3, label=f"state {k + 1}")
    return "One sequence, each measurement in the colour of its most probable state", "step t", "x_t"


def _smoothed(ax: Axes, pair: Pair, x: torch.Tensor) -> tuple[str, str, str]:
    """Draw a sequence, and the posterior of what it measures at each step: the mean, and 95 % around it."""
    of, t = pair.matrices(pair.theta), torch.arange(1, x.shape[1] + 1)
    means, covariances, _ = smooth(x[:1], of)
    mean, sd = means[0] @ of.c, (covariances[0] @ of.c @ of.c).sqrt()
    ax.plot(array(t), array(mean), color=RED, linewidth=2, label="posterior mean of the level c'z_t")
    ends = (array(mean - 1.96 * sd), array(mean + 1.96 * sd))
    ax.fill_between(array(t), *ends, color=RED, alpha=0.2, label="95 % of the posterior of the level")
    ax.scatter(array(t), array(x[0]), color=BLUE, s=60, zorder=3, label="measurements x_t")
    return "The level behind noisy measurements: it is surest inside the sequence", "step t", "x_t, and the level"


def _cloud(ax: Axes, pair: Pair, x: torch.Tensor) -> tuple[str, str, str]:
    """Draw two coordinates of the data, and the ellipses of one and two standard deviations under the model."""
    W, sigma = pair.theta["W"], pair.sigma
    covariance = (W @ W.T + sigma.square() * torch.eye(len(W)).to(W))[:2, :2]
    angle = torch.linspace(0, 2 * torch.pi, 200).to(x)
    circle = torch.linalg.cholesky(covariance) @ torch.stack([angle.cos(), angle.sin()])
    ax.scatter(array(x[:POINTS, 0]), array(x[:POINTS, 1]), color=BLUE, s=14, alpha=0.45, label="data")
    for sd in (1, 2):
        label = "W W' + Phi: one and two standard deviations" if sd == 1 else None
        ax.plot(*(sd * array(circle)), color=RED, linewidth=2, label=label)
    for k in range(W.shape[1]):
        end = array(2 * W[:2, k])
        label = "loadings: the directions of the factors" if k == 0 else None
        ax.plot([-end[0], end[0]], [-end[1], end[1]], color=ORANGE, linewidth=3, label=label)
    return "Two measurements that vary together, and the factors behind them, after EM", "x₁", "x₂"


def _spectrum(ax: Axes, pair: Pair, x: torch.Tensor) -> tuple[str, str, str]:
    """Draw the eigenvalues of the covariance of images, the noise, and what the units take of them."""
    W, noise = pair.theta["W"], pair.sigma.square().mean().item()
    eigenvalues = torch.linalg.eigvalsh(torch.cov(x.T, correction=0)).flip(0)[: 2 * W.shape[1]]
    units = torch.linalg.eigvalsh(W.T @ W).flip(0)
    at = torch.arange(1, len(eigenvalues) + 1)
    ax.bar(array(at), array(eigenvalues), 0.8, color=GREY, alpha=0.4, label="eigenvalues of the covariance of x")
    label = "what the units take, above the noise"
    ax.bar(array(at[: len(units)]), array(units), 0.8, bottom=noise, color=BLUE, alpha=0.8, label=label)
    ax.set_xticks(array(at[::2]))
    ax.axhline(noise, color=RED, linewidth=2, label=f"noise σ² = {number(noise, '.3f')}")
    return (
        "The units take what an eigenvalue has above the noise, after EM",
        "eigenvalue, the largest first",
        "variance",
    )
