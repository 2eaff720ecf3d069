"""Figures of latents that all data share, and of a component: what is drawn is what posterior and guide have."""

import math

import pyro
import pytest
import torch

import data
from data.synthetic import DIE_P
from gallery.figures import FIGURES, Subject, odds, responsibilities, shared
from gallery.models.eight_schools import EightSchools
from gallery.models.gaussian_mixture import GaussianMixture
from gallery.models.loaded_die import LoadedDie
from gallery.models.logistic_regression import LogisticRegression


class Exact(LoadedDie):
    """A guide that is the posterior."""

    def guide(self, x, total=None):
        pyro.sample("p", self.posterior(x))


def test_intervals_of_a_guide_that_is_the_posterior():
    train = data.load("loaded_die")
    pair, draws = Exact(data_dim=6), 500
    (ax,) = shared(pair, train, draws).axes
    assert [text.get_text() for text in ax.get_xticklabels()] == [f"p[{i}]" for i in range(6)]
    (truth,) = [line for line in ax.lines if line.get_label() == "truth"]
    assert truth.get_ydata() == pytest.approx(DIE_P)
    medians = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert len(medians) == 12
    alpha = pair.posterior(train.x).concentration
    for line in medians:  # the median of a Beta, by its distribution function
        (at,), (value,) = line.get_xdata(), line.get_ydata()
        i = round(at)
        beta = torch.distributions.Beta(alpha[i].double(), (alpha.sum() - alpha[i]).double())
        grid = torch.linspace(0, value, 20001, dtype=torch.float64)[1:]
        below = beta.log_prob(grid).exp().mean().item() * value
        assert abs(below - 0.5) < 4 * math.sqrt(0.25 / draws) + 1e-3  # of a quantile, and of the sum


def test_coordinates_of_several_latents_have_the_names_of_their_sites():
    (ax,) = shared(EightSchools(), data.load("eight_schools"), 50).axes
    names = ["mu", "tau", *(f"theta[{i}]" for i in range(8))]
    assert [text.get_text() for text in ax.get_xticklabels()] == names


def test_odds_are_the_mean_of_the_curves_of_the_guide():
    train = data.load("logistic")
    pair = LogisticRegression()
    with torch.no_grad():
        pair.q["m"].copy_(torch.tensor([-3.0, 1.2]))
        pair.q["log_s"].fill_(-20.0)  # a point
    (ax,) = odds(pair, train, draws=2000).axes
    (mean,) = [line for line in ax.lines if line.get_label() == "their mean"]
    c, p = map(torch.as_tensor, mean.get_data())
    assert (p - (-3 + 1.2 * c).sigmoid()).abs().max() < 1e-5
    (known,) = [line for line in ax.lines if line.get_label() == "mean, exact posterior"]
    drawn, at = pair.posterior(train.x, train.covariates).sample((2000,)), [0, 60, 119]
    expected = (drawn @ pair.design(c[at].float().unsqueeze(1)).T).sigmoid()
    apart = torch.as_tensor(known.get_ydata())[at] - expected.mean(0)
    assert (apart.abs() < 4 * expected.std(0) * math.sqrt(2 / 2000)).all()


def test_responsibilities_over_a_plane():
    test, pair = data.load("gaussian_mixture", "test"), GaussianMixture(components=2)
    with torch.no_grad():
        pair.theta["mean"].copy_(torch.tensor([[-2.0, 0.0], [2.0, 0.0]]))
    assert FIGURES["responsibilities"][0](Subject(pair, test, test, [], 0))
    (ax,) = responsibilities(pair, test).axes
    picture = ax.images[0].get_array()
    left, right = picture[:, 0], picture[:, -1]
    assert abs(left - left[0]).max() < 1e-3  # far on one side a component has everything
    assert abs(left[0] - right[0]).max() > 0.05
    edges = [tuple(edge) != (0, 0, 0, 0) for edge in ax.collections[0].get_edgecolors()]
    shared_points = (pair.posterior(test.head(500).x).probs.max(1).values <= 0.9).tolist()
    assert [
        edge and sum(c) > 0 for edge, c in zip(edges, ax.collections[0].get_edgecolors(), strict=True)
    ] == shared_points
