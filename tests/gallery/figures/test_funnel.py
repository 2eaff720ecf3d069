"""The funnel: moments of the standardised effect given the spread, and the density that is drawn."""

import torch

import data
from gallery.figures.funnel import funnel, standardised
from gallery.models.eight_schools import EightSchools


def posterior():
    schools = data.load("eight_schools", dtype=torch.float64)
    return EightSchools().posterior(schools.x, schools.covariates)


def test_moments_of_the_standardised_effect_are_those_of_draws():
    p, n = posterior(), 40_000
    mu, tau, *theta = p.sample((n,)).unbind(-1)
    for i in (0, 7):
        mean, sd = standardised(p, i, tau)
        z = ((theta[i] - mu) / tau - mean) / sd  # standard normal, whatever the spread
        assert abs(z.mean()) < 4 / n**0.5
        assert abs(z.square().mean() - 1) < 4 * (2 / n) ** 0.5


def test_the_two_panels_share_the_spread_and_differ_in_the_width_at_its_end():
    left, right = funnel(posterior()).axes
    assert left.get_ylim() == right.get_ylim()
    widths = []
    for ax in (left, right):
        (low, high) = (line.get_xdata() for line in ax.lines)
        widths.append((high - low) / (high - low).max())
    assert widths[0][0] < 0.05  # pinched
    assert widths[1][0] > 0.5
