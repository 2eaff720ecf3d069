"""An estimate: its errors, its JSON and its line of print."""

import json
import math

import pytest
import torch

from inference import Estimate
from inference.evaluation.estimate import Moments


def test_the_error_of_a_mean_is_over_data():
    values = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    assert Estimate.of_mean(values, "m", cap=5) == {
        "value": pytest.approx(7 / 3),
        "se": pytest.approx(values.std().item() / math.sqrt(3)),
        "n": 3,
        "unit": "m",
        "cap": 5,
    }
    assert "se" not in Estimate.of_mean(values[:1], "m")


def test_draws_have_both_errors_and_joint_draws_the_one_of_monte_carlo():
    values = torch.randn(5, 40)
    estimate = Estimate.of_draws(values, 40, particles=5)
    assert estimate["value"] == pytest.approx(values.mean().item(), rel=1e-5)
    assert estimate["mc_se"] == pytest.approx((values.var(0) / 5).sum().sqrt().item() / 40, rel=1e-5)
    assert estimate["se"] == pytest.approx(values.mean(0).std().item() / math.sqrt(40), rel=1e-5)
    assert estimate.keys() == {"value", "se", "mc_se", "n", "unit", "particles"}
    assert Estimate.of_draws(values[:, :1], 40).keys() == {"value", "mc_se", "n", "unit"}
    assert Estimate.of_draws(values[:1], 40).keys() == {"value", "se", "n", "unit"}
    whole = Moments.concatenate([Moments.of_draws(values[:, :7]), Moments.of_draws(values[:, 7:])])
    assert Estimate.of_moments(whole, 40, particles=5) == estimate


def test_the_error_of_a_median_covers_its_spread():
    medians = [Estimate.of_median(torch.randn(101, dtype=torch.float64), "m") for _ in range(400)]
    spread = torch.tensor([median["value"] for median in medians]).std().item()
    mean_error = sum(median["se"] for median in medians) / len(medians)
    assert mean_error == pytest.approx(spread, rel=4 / math.sqrt(2 * 400) + 0.05)
    assert "se" not in Estimate.of_median(torch.full((5,), -math.inf), "m")


def test_an_estimate_prints_itself_and_goes_through_json():
    bound = Estimate.of_draws(torch.tensor([[-1.0, -2.0], [-2.0, -3.0]]), n=2)
    line = "-2.0000 nats per data point (standard error over data 0.5, Monte Carlo 0.35, n 2)"
    assert str(bound) == line
    read = json.loads(json.dumps(bound))
    assert read == bound
    assert str(Estimate(read)) == line
    assert bound.error("mc_se") == "0.35"
    assert Estimate(value=1.0).error("se") == ""
    assert str(Estimate(value=1.0)) == "1.0000"
    assert str(Estimate.of_undefined("no tail", n=3)) == "undefined, no tail"
    gap = Estimate.of_gap(Estimate.of_draws(torch.zeros(1, 2), 2, exact=True), bound)
    assert gap == {"value": 2.0, "mc_se": bound["mc_se"], "n": 2, "unit": "nats per data point"}
