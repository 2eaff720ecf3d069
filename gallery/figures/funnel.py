"""Figure of a funnel: an effect and the spread of all effects, in centred and in non-centred coordinates."""

import numpy as np
import pyro.distributions as dist
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gallery.figures.style import ORANGE, array, dress, figure
from gallery.models._quadrature import HierarchyPosterior

__all__ = ["funnel", "standardised"]

LEVELS = (0.01, 0.03, 0.1, 0.3, 0.6, 1.0)  # of the density, as shares of its maximum
SDS = 4.0  # around the mean, given the spread
POINTS = 201


def standardised(posterior: HierarchyPosterior, i: int, tau: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of eta_i = (theta_i - mu) / tau given x and tau, (m,) each.

    Given tau and mu the effect is normal, with the mean share x_i + (1 - share) mu and the variance share c_i^2.

    :param tau: spreads, (m,) in float64
    """
    known, x, c = posterior.given_tau(tau), posterior.x[i], posterior.c[i]
    share = known.share[:, i]
    mean = share * (x - known.mean) / tau
    return mean, (share.square() * known.sd.square() + share * c.square()).sqrt() / tau


def funnel(posterior: HierarchyPosterior, i: int = 0, low: float = 0.1, high: float = 50.0) -> Figure:
    """Draw the exact density of log tau and theta_i - mu, and of log tau and eta_i = (theta_i - mu) / tau.

    :param i: the data point
    :param low: the smallest spread
    :param high: the largest spread
    """
    tau = torch.linspace(np.log(low), np.log(high), POINTS, dtype=torch.float64).exp()
    prior = dist.HalfCauchy(posterior.tau_scale).log_prob(tau)
    log_mass = posterior.given_tau(tau).log_x + prior + tau.log()
    mean, sd = standardised(posterior, i, tau)
    fig = figure(9.0, 3.8)
    left, right = fig.subplots(1, 2, sharey=True)
    dress(left, "Centred: the effect", "θ − μ", "spread τ")
    dress(right, "Non-centred: the effect in units of the spread", "η = (θ − μ) / τ", "")
    _density(left, tau, log_mass, mean * tau, sd * tau)
    _density(right, tau, log_mass, mean, sd)
    right.legend(frameon=False, fontsize=9, loc="lower right")
    return fig


def _density(ax: Axes, tau: Tensor, log_mass: Tensor, mean: Tensor, sd: Tensor) -> None:
    """Draw levels of a density of log tau and a coordinate that is normal given tau."""
    low, high = (mean - SDS * sd).min().item(), (mean + SDS * sd).max().item()
    at = torch.linspace(low, high, 4 * POINTS, dtype=torch.float64)
    log_p = log_mass.unsqueeze(-1) + dist.Normal(mean.unsqueeze(-1), sd.unsqueeze(-1)).log_prob(at)
    density = (log_p - log_p.max()).exp()
    ax.contourf(array(at), array(tau), array(density), levels=LEVELS, cmap="Blues")
    for sign in (-2, 2):
        label = "mean ± 2 sd, given τ" if sign > 0 else None
        ax.plot(array(mean + sign * sd), array(tau), color=ORANGE, linewidth=1.2, label=label)
    drawn = at[(density > LEVELS[0]).any(0)]
    ax.set(xlim=(drawn[0].item(), drawn[-1].item()), yscale="log", ylim=(tau[0].item(), tau[-1].item()))
