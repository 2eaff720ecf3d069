"""Figures of scalar models with exact posterior and evidence: densities, evidence and ELBO, amortisation gap."""

import math
from collections.abc import Mapping
from typing import Any

import pyro.distributions as dist
import torch
from matplotlib.figure import Figure
from pyro import poutine
from torch import Tensor

from gallery.figures.style import BLUE, GREEN, GREY, ORANGE, RED, array, dress, figure, number
from inference import Pair, eval_mode, log_evidence
from inference.evaluation.evidence_gap import evidence_gap
from inference.pairs.handlers import SetRows
from inference.pairs.sites import Site, latent_sites

__all__ = ["PARTICLES", "amortisation", "density", "evidence_curve", "posterior_1d"]

PARTICLES = 10_000
LINEAR = 1e-5  # nats
ROUNDING = 1e-8  # nats, an error of log-densities that are rounded


def _like(pair: Pair, values: Tensor | float) -> Tensor:
    """Return values as data, (n, 1), with dtype and device of the pair."""
    kind = next(pair.parameters(), torch.empty(0))
    return torch.as_tensor(values, dtype=kind.dtype, device=kind.device).reshape(-1, 1)


def density(fn: dist.TorchDistribution, z: Tensor) -> Tensor:
    """Return the density of a scalar distribution of batch shape (1,) at z, (m,); 0 outside its support."""
    support: Any = fn.support
    heights, inside = torch.zeros_like(z), support.check(z)
    heights[inside] = fn.log_prob(z[inside].unsqueeze(-1)).squeeze(-1).exp()
    return heights


def posterior_1d(pair: Pair, xs: tuple[float, ...] = (1.5, 0.0), data: Tensor | None = None) -> Figure:
    """Draw prior, exact posterior and fitted guide of a scalar z at each x, with log p(x), ELBO and gap in nats.

    :param xs: one panel for each value of x
    :param data: (n, 1), the training data of a guide with parameters per data point; the data points nearest to `xs`
        are drawn then
    """
    panels = []
    for value in xs:
        x, row = _like(pair, value), torch.zeros(1, dtype=torch.long)
        if data is None:
            missing, error = evidence_gap(pair, x, PARTICLES)
        else:
            row = (data[:, 0] - value).abs().argmin().reshape(1)
            x = data[row]
            missing, error = (estimate[row] for estimate in evidence_gap(pair, data, 200))
        with eval_mode(pair), SetRows(row.to(x.device)):
            ((name, site),) = latent_sites(poutine.trace(pair.guide).get_trace(x)).items()
            prior: Site = poutine.trace(pair.model).get_trace(x).nodes[name]
            evidence = log_evidence(pair, x)
            assert evidence is not None
            panels.append((x, prior["fn"], pair.posterior(x), site["fn"], evidence, missing, error))
    ends = [end for _, _, p, q, *_ in panels for d in (p, q) for k in (-4.5, 4.5) for end in (d.mean + k * d.stddev,)]
    low, high = torch.cat(ends).min().item(), torch.cat(ends).max().item()
    pad = 0.02 * (high - low)
    if not panels[0][1].support.check(torch.tensor(-1.0)):  # a prior on z > 0: show its edge, and little below it
        low = -2 * pad
    z = torch.linspace(low, high + pad, 1501).to(panels[0][0])
    fig = figure(4.2 * len(panels), 3.4)
    top = 0.0
    for i, (ax, (x, prior, exact, guide, evidence, missing, error)) in enumerate(
        zip(fig.subplots(1, len(panels), sharey=True, squeeze=False).flat, panels, strict=True)
    ):
        curves = [density(fn, z) for fn in (prior, exact, guide)]
        top = max(top, curves[0].max().item(), curves[1].max().item(), min(curves[2].max(), 2 * curves[1].max()).item())
        ax.plot(array(z), array(curves[0]), color=GREY, linewidth=1.2, label="prior p(z)")
        ax.plot(array(z), array(curves[1]), color=GREEN, linewidth=4, alpha=0.5, label="exact posterior p(z | x)")
        ax.plot(array(z), array(curves[2]), color=RED, linewidth=1.4, label="fitted guide q(z | x)")
        form = f".{_places(error.item())}f"
        numbers = [
            *(number(v.item(), ".4f") for v in (evidence, evidence - missing)),
            *(number(v.item(), form) for v in (missing, error)),
        ]
        title = "x = {}: log p(x) = {}, ELBO = {} nats\ngap {} ± {} nats".format(number(x.item(), ".2f"), *numbers)
        dress(ax, title, "z", "density, per unit of z" if i == 0 else "")
        ax.set_xlim(z[0].item(), z[-1].item())
    for ax in fig.axes:
        ax.set_ylim(0, 1.08 * top)
    fig.axes[-1].legend(frameon=False, fontsize=9)
    return fig


def _places(error: float) -> int:
    """Return the number of decimal places at which an error is not 0; at least four, and four if it is rounding alone.

    >>> [_places(error) for error in (0.02, 0.0004, 0.000003, 1e-10, 0.0)]
    [4, 4, 6, 4, 4]
    """
    return max(4, math.ceil(-math.log10(error))) if error > ROUNDING else 4


def evidence_curve(pair: Pair, lo: float = -2.0, hi: float = 6.0, particles: int = 1000) -> Figure:
    """Draw exact log p(x) and ELBO over x from lo to hi, and below the gap with its Monte Carlo error, in nats."""
    x = _like(pair, torch.linspace(lo, hi, 81))
    missing, error = (array(value) for value in evidence_gap(pair, x, particles))
    with torch.no_grad():
        exact = log_evidence(pair, x)
    assert exact is not None
    evidence = array(exact)
    at = array(x)[:, 0]
    fig = figure(5.6, 4.4)
    top, bottom = fig.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    top.plot(at, evidence, color=GREEN, linewidth=4, alpha=0.5, label="log p(x), exact")
    top.plot(at, evidence - missing, color=RED, linewidth=1.2, label=f"ELBO(x), {particles} particles")
    dress(top, "Evidence and ELBO of one data point x", ylabel="nats").legend(frameon=False, fontsize=9)
    bottom.fill_between(at, missing - 2 * error, missing + 2 * error, color=RED, alpha=0.2, linewidth=0)
    bottom.plot(at, missing, color=RED, linewidth=1.2)
    bottom.axhline(0, color=GREEN, linewidth=1)
    dress(bottom, "Gap KL(q(z | x) ‖ p(z | x)), ± 2 standard errors", "x", "nats").set_xlim(lo, hi)
    return fig


def amortisation(x: Tensor, gaps: Mapping[str, Tensor], bins: int = 10) -> Figure:
    """Draw gaps over x, in nats: means over bins of equally many data points, with 2 standard errors.

    The axis is linear between -`LINEAR` and `LINEAR`, and logarithmic beyond.

    :param x: (n, 1)
    :param gaps: name to the gap of each data point, (n,)
    :param bins: number of bins, at most n
    """
    fig = figure(5.6, 3.6)
    ax = dress(fig.add_subplot(), f"Gaps of {len(x)} data points, means over {bins} bins of x", "x", "nats")
    order = x[:, 0].argsort().tensor_split(bins)
    at = [x[rows, 0].mean().item() for rows in order]
    for (name, gap), colour in zip(gaps.items(), (ORANGE, BLUE), strict=False):
        means = [gap[rows].mean().item() for rows in order]
        errors = [2 * gap[rows].std(correction=0).item() / len(rows) ** 0.5 for rows in order]
        label = f"{name}: mean {number(gap.mean().item(), '.1e')} nats"
        ax.errorbar(at, means, errors, color=colour, marker="o", markersize=3, linewidth=1, label=label)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set_yscale("symlog", linthresh=LINEAR)
    fig.legend(loc="outside lower center", frameon=False, fontsize=8)
    return fig
