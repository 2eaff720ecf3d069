"""A line by squared error and by KL: closed forms, and intervals that contain the truth as often as they should."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

import data
from gallery.figures.intervals import intervals
from gallery.ledger.experiments import linear_regression as line
from gallery.ledger.experiments.information import PixelByPixel
from gallery.models.linear_regression import LinearRegression


def posterior():
    of = data.load("line", dtype=torch.float64)
    return LinearRegression().double().posterior(of.x, of.covariates)


def test_the_gap_of_mean_field_is_exact_and_its_estimates_within_their_errors():
    gap = line.gap_of_mean_field(posterior(), 200)
    assert gap["exact"] == pytest.approx(0.00315, abs=5e-6)
    assert gap["exact"] == pytest.approx(-math.log(1 - gap["correlation"] ** 2) / 400)
    for point in gap["estimates"]:
        assert abs(point["value"] - gap["exact"]) < 4 * point["mc_se"]
    q = line.mean_field(posterior())
    ratios = q.log_prob(w := q.sample((100_000,))) - posterior().log_prob(w)
    assert ratios.std().item() == pytest.approx(abs(gap["correlation"]), rel=0.03)  # of one draw


@pytest.mark.parametrize("change", [(1.05, 1.0), (1.0, 0.95), (1.1, 1.1)])
def test_no_other_independent_scales_have_a_smaller_kl(change):
    q, p = line.mean_field(posterior()), posterior()
    other = MultivariateNormal(q.mean, (q.covariance_matrix.diagonal() * torch.tensor(change)).diag())
    assert kl_divergence(q, p) < kl_divergence(other, p)


def test_closed_forms_agree_where_they_should():
    x, given = line.simulated(3)
    of = line.estimates(x, given)
    squares, exact = of["least squares"], of["full covariance"]
    torch.testing.assert_close(squares["mean"], exact["mean"], rtol=0, atol=2e-3)  # the prior is wide
    torch.testing.assert_close(squares["sd"], exact["sd"], rtol=1e-3, atol=0)
    assert (of["mean field"]["sd"] < 0.7 * exact["sd"]).all()
    assert "sd" not in of["MAP"]


def test_coverage_is_the_level_for_the_posterior_and_too_low_for_mean_field():
    found = line.coverage(sets=100, sets_of_nuts=0)
    expected = line.expected_coverage(line.gap_of_mean_field(posterior(), 200)["correlation"])
    for name, level in (("least squares", 0.9), ("full covariance", 0.9), ("mean field", expected)):
        assert found[name]["n"] == 100
        for p in found[name]["covered"]:
            assert abs(p - level) < 4 * math.sqrt(level * (1 - level) / 100)
    assert expected < 0.7


@pytest.mark.slow
def test_a_small_run_is_written_with_nuts(tmp_path):
    result = line.reproduce(tmp_path, tmp_path, sets=3, sets_of_nuts=1, draws=60)
    assert result["methods"]["NUTS"]["n"] == 1
    exact = torch.tensor(result["methods"]["full covariance"]["mean"])
    assert (torch.tensor(result["methods"]["NUTS"]["mean"]) - exact).abs().max() < 0.1
    assert (tmp_path / "squares_and_kl.png").exists()
    texts = [text.get_text() for text in intervals(result).axes[2].texts]
    assert texts == ["a point: no interval"]


def test_pixels_drawn_one_by_one_have_their_log_probability():
    """A chain of two pixels: p(x_2 = 1 | x_1 = 1) is the logistic function of the sum of its logit and the weight."""
    weight = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    law = PixelByPixel(torch.tensor([[0.5, -1.0]]), weight)
    every = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    p = law.log_prob(every.unsqueeze(1)).squeeze(1).exp()
    assert p.sum().item() == pytest.approx(1)
    assert (p[3] / (p[2] + p[3])).item() == pytest.approx(1 / (1 + math.exp(-1.0)))
    torch.manual_seed(0)
    drawn = law.sample((20_000,)).squeeze(1)
    assert (drawn.prod(1).mean() - p[3]).abs() < 4 * (p[3] * (1 - p[3]) / 20_000).sqrt()
