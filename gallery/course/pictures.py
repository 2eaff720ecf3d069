"""The first picture of each lesson, drawn from exact formulas without any fit."""

import math
from collections.abc import Callable

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from scipy.stats import beta, norm

import data
from gallery.figures.style import BLUE, GREEN, GREY, INK, ORANGE, RED, dress, figure, show, tile
from gallery.figures.two_kls import two_kls
from gallery.models.exponential_gaussian import ExponentialGaussian
from gallery.models.gaussian_mixture import GaussianMixture
from gallery.models.linear_regression import LinearRegression

__all__ = ["HEROES"]

WIDE = (9.0, 3.6)


def die() -> Figure:
    """Draw the posterior of the probability of a six after 0, 7 and 200 throws."""
    fig, p = figure(*WIDE), np.linspace(0, 1, 500)
    ax = dress(fig.subplots(), "", "probability of a six", "density")
    sixes = int(data.load("loaded_die").x[:, 5].sum())
    for name, n, c, colour in (("no throws", 0, 0, GREY), ("7 throws", 7, 2, ORANGE), ("200 throws", 200, sixes, BLUE)):
        ax.plot(p, beta(1 + c, 5 + n - c).pdf(p), color=colour, label=name)
    ax.legend(frameon=False)
    return fig


def line() -> Figure:
    """Draw lines of the posterior and of the best mean-field guide through eight points."""
    fig, train = figure(*WIDE), data.load("line").head(8)
    pair = LinearRegression().double()
    assert train.given is not None
    x, c = train.x.double(), train.given.double()
    exact = pair.posterior(x, c)
    precision: torch.Tensor = torch.linalg.inv(exact.covariance_matrix)
    guides = {"The posterior": exact.covariance_matrix, "The best mean-field guide": (1 / precision.diagonal()).diag()}
    noise = torch.tensor(np.random.RandomState(0).standard_normal((40, 2)))
    grid = torch.linspace(0, 5, 2).double()
    for ax, (name, covariance) in zip(fig.subplots(1, 2, sharey=True), guides.items(), strict=True):
        dress(ax, name, "c", "x")
        for w in exact.mean + noise @ torch.linalg.cholesky(covariance).T:
            ax.plot(grid, w[0] + w[1] * grid, color=BLUE, alpha=0.25, lw=1)
        ax.plot(c, x, "o", color=INK, ms=4)
    return fig


def bound() -> Figure:
    """Draw the ELBO of exponential guides beside the evidence."""
    fig, rate, x = figure(*WIDE), np.linspace(0.45, 3, 300), 2.0
    ax = dress(fig.subplots(), "", "rate of the guide", "nats")
    elbo = -1 / rate - 0.5 * (x**2 - 2 * x / rate + 2 / rate**2) - 0.5 * math.log(2 * math.pi) + 1 - np.log(rate)
    evidence = ExponentialGaussian().log_evidence(torch.tensor([[x]])).item()
    ax.plot(rate, elbo, color=BLUE, label="ELBO")
    ax.axhline(evidence, color=INK, label="log evidence")
    ax.vlines(1.0, elbo.max(), evidence, color=RED, lw=3, label="gap at the best rate")
    ax.set_ylim(-3.5, -1.4)
    ax.legend(frameon=False, ncols=3, loc="lower right")
    return fig


def kls() -> Figure:
    """Draw the nearest normals to a posterior with two modes."""
    return two_kls(x=2.0)


def mixture() -> Figure:
    """Draw responsibilities at the start of EM and after 1, 5 and 40 steps."""
    fig, x = figure(10.0, 3.0), data.load("gaussian_mixture").x
    with torch.random.fork_rng():
        torch.manual_seed(3)
        pair = GaussianMixture()
    step = 0
    for ax, until in zip(fig.subplots(1, 4, sharey=True), (0, 1, 5, 40), strict=True):
        while step < until:
            pair.m_step(pair.e_step(x))
            step += 1
        with torch.no_grad():
            r = pair.posterior(x).probs
        colours = r @ torch.tensor([[0.0, 0.45, 0.7], [0.9, 0.6, 0.0], [0.0, 0.62, 0.45]])
        ax.scatter(*x.T, c=colours.clamp(0, 1).numpy(), s=4)
        ax.plot(*pair.theta["mean"].detach().T, "x", color=INK, ms=9, mew=2)
        dress(ax, f"{step} step{'s' * (step != 1)}")
    return fig


def ascent() -> Figure:
    """Draw the evidence of a mixture with one unknown mean, and the bounds of three E steps."""
    fig, grid = figure(*WIDE), np.linspace(-3, 4, 300)
    x = np.concatenate([np.linspace(-1, 5, 15), np.linspace(0.5, 3.5, 15)])

    def log_joint(theta: np.ndarray) -> np.ndarray:
        other = np.broadcast_to(norm.logpdf(x, 0.0, 1.0), (len(theta), len(x)))
        return np.stack([norm.logpdf(x, theta[:, None], 1.0), other]) - math.log(2)

    ax = dress(fig.subplots(), "", "mean of a component", "nats")
    joint = log_joint(grid)
    evidence = np.logaddexp(*joint).sum(1)
    ax.plot(grid, evidence, color=INK, lw=2, label="log evidence")
    theta = -2.0
    for colour in (GREY, ORANGE, BLUE):
        here = log_joint(np.array([theta]))
        r = np.exp(here - np.logaddexp(*here))
        bound = (r * (joint - np.log(r))).sum((0, 2))
        ax.plot(grid, bound, color=colour, label=f"bound after the E step at {theta:.2f}".replace("-", "−"))
        ax.plot(theta, np.logaddexp(*here).sum(), "o", color=colour)
        theta = float((r[0, 0] * x).sum() / r[0, 0].sum())
    ax.set_ylim(evidence.min() - 30, evidence.max() + 5)
    ax.legend(frameon=False, loc="upper left")
    return fig


def _node(ax: Axes, at: tuple[float, float], text: str, random: bool, colour: str) -> None:
    shape = Circle(at, 0.42) if random else Rectangle((at[0] - 0.42, at[1] - 0.42), 0.84, 0.84)
    shape.set(facecolor="white", edgecolor=colour, linewidth=2)
    ax.add_patch(shape)
    ax.text(*at, text, ha="center", va="center", fontsize=13, color=INK)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = INK, bend: float = 0) -> None:
    style = f"arc3,rad={bend}"
    ax.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=14, color=colour, shrinkA=24, shrinkB=24, connectionstyle=style
        )
    )


def nodes() -> Figure:
    """Draw deterministic and random nodes of a bound, without and with reparametrisation."""
    fig = figure(9.0, 4.2)
    for ax, moved in zip(fig.subplots(1, 2), (False, True), strict=True):
        dress(ax, "Reparametrised: z = g(φ, x, ε)" if moved else "Sampled: z ~ q(z | x)")
        f, z, phi, x, eps = (2.0, 4.0), (2.0, 2.2), (0.6, 0.5), (2.0, 0.5), (3.4, 0.5)
        _node(ax, f, "f", False, INK)
        _node(ax, z, "z", not moved, BLUE if moved else RED)
        _node(ax, phi, "φ", False, INK)
        _node(ax, x, "x", False, INK)
        for source in (phi, x, *([eps] if moved else [])):
            _arrow(ax, source, z)
        _arrow(ax, z, f)
        if moved:
            _node(ax, eps, "ε", True, RED)
            _arrow(ax, f, z, GREEN, 0.5)
            _arrow(ax, z, phi, GREEN, 0.5)
        else:
            _arrow(ax, f, z, GREY, 0.5)
            ax.text(0.2, 2.3, "the gradient\nstops here", color=RED, fontsize=10)
        ax.set(xlim=(-0.2, 4.4), ylim=(-0.2, 4.7), aspect="equal", xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return fig


def codes() -> Figure:
    """Draw digits, and their reconstructions from 2, 8 and 32 principal components."""
    fig, x = figure(6.5, 2.4), data.load("digits:grey").x.double()
    centre = x.mean(0)
    _, _, V = torch.linalg.svd(x - centre, full_matrices=False)
    rows = [x[:10], *(centre + (x[:10] - centre) @ V[:k].T @ V[:k] for k in (2, 8, 32))]
    names = ("original", "2 numbers", "8 numbers", "32 numbers")
    show(fig.subplots(), tile(torch.cat(rows), (8, 8), 10, 1), (0.0, 1.0), "", names)
    return fig


def collapse() -> Figure:
    """Draw the best loading of directions of three variances against the weight of the KL."""
    fig, weight = figure(*WIDE), np.linspace(0, 5, 300)
    ax = dress(fig.subplots(), "", "weight of the KL", "loading of the decoder")
    for variance, colour in ((4.0, BLUE), (2.0, ORANGE), (0.8, RED)):
        ax.plot(weight, np.sqrt(np.maximum(0, variance - weight)), color=colour, label=f"variance {variance:g}")
    ax.axvline(1, color=GREY, lw=1)
    ax.legend(frameon=False, title="noise variance 1")
    return fig


def calibration() -> Figure:
    """Draw ranks of simulated latents among samples of the posterior and of guides with wrong scales."""
    fig, stream = figure(*WIDE), np.random.RandomState(0)
    L, n = 19, 20_000
    z = stream.standard_normal(n)
    x = z + stream.standard_normal(n)
    scales = {"too narrow": (0.4, RED), "the posterior": (0.5**0.5, BLUE), "too wide": (1.2, ORANGE)}
    for ax, (name, (scale, colour)) in zip(fig.subplots(1, 3, sharey=True), scales.items(), strict=True):
        ranks = (x / 2 + scale * stream.standard_normal((L, n)) < z).sum(0)
        ax.bar(np.arange(L + 1), np.bincount(ranks, minlength=L + 1) / n, color=colour, width=0.9)
        ax.axhline(1 / (L + 1), color=INK, lw=1)
        dress(ax, name, "rank of the truth among 19 samples", "fraction")
    return fig


HEROES: dict[int, tuple[Callable[[], Figure], str]] = {
    1: (die, "What is known about the probability of a six: nothing, a little, much."),
    2: (line, "Eight points and 40 lines. With slope and intercept independent, the lines do not turn about the data."),
    3: (bound, "Every guide gives a lower bound. The gap is its KL from the posterior."),
    4: (kls, "One posterior with two modes, two nearest normals: each direction of the KL has one."),
    5: (mixture, "EM: each point is coloured by its responsibilities, a cross is the mean of a component."),
    6: (
        ascent,
        "EM as coordinate ascent: an E step lifts the bound to the evidence, an M step goes to its top.",
    ),
    7: (nodes, "Circles are random, squares computed; f has the bound as its mean. A gradient passes through squares."),
    8: (codes, "Digits restored from 2, 8 and 32 numbers by the best linear autoencoder."),
    9: (
        collapse,
        "Collapse: a direction of the data is coded while its variance exceeds weight times noise.",
    ),
    10: (calibration, "Simulation-based calibration: flat ranks under the posterior, horns or a hill otherwise."),
}
"""By lesson: a function that draws the picture, and its caption."""
