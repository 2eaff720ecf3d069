"""KL(posterior || guide): closed forms, the exact guide, the bound from above, and what has none."""

import math

import pytest
import torch
from cases import exact_factor_analysis
from torch.distributions import Normal, kl_divergence

from gallery.models.autoencoder import MaximumAPosteriori
from gallery.models.linear_regression import LinearRegression, MeanField
from gallery.models.linear_regression import MaximumAPosteriori as PointLine
from gallery.models.squared_gaussian import SquaredGaussian
from inference import InferenceError, evaluate
from inference.evaluation.forward import forward_kl
from inference.examples import LinearGaussian


def test_it_is_0_without_variance_where_the_guide_is_the_posterior():
    pair, x = exact_factor_analysis()
    found = forward_kl(pair, x, draws=20)
    assert found["value"] == pytest.approx(0.0, abs=1e-8)
    assert found["mc_se"] < 1e-8


def test_of_two_normals_it_is_the_closed_form():
    pair, x = LinearGaussian().double(), torch.randn(40, 1, dtype=torch.float64)
    with torch.no_grad():
        pair.q["weight"].fill_(0.3)
        scale = torch.nn.functional.softplus(pair.q["spread"])
        expected = kl_divergence(Normal(x / 2, 0.5**0.5), Normal(0.3 * x, scale)).mean().item()
    found = forward_kl(pair, x, draws=2000)
    assert found["value"] == pytest.approx(expected, abs=4 * found["mc_se"])


def test_of_a_global_latent_it_is_that_of_all_data():
    given = torch.linspace(0, 5, 30, dtype=torch.float64).unsqueeze(-1)
    x = 1 + given
    torch.manual_seed(0)
    pair = MeanField().double()
    posterior = pair.posterior(x, given)
    with torch.no_grad():
        pair.q["m"].copy_(posterior.mean)
        pair.q["log_s"].copy_(posterior.stddev.log())
    found = forward_kl(pair, x, given, draws=2000)
    rho = posterior.covariance_matrix[0, 1] / posterior.stddev.prod()
    assert found["value"] == pytest.approx(-math.log(1 - rho.item() ** 2) / 2 / 30, abs=4 * found["mc_se"])
    assert "se" not in found


def test_elbo_and_the_bound_from_above_hold_the_evidence_between_them():
    pair, x = SquaredGaussian().double(), torch.linspace(-1, 4, 30, dtype=torch.float64).unsqueeze(-1)
    forward, metrics = forward_kl(pair, x, draws=200), evaluate(pair, x, particles=200)
    assert forward["value"] > 4 * forward["mc_se"]
    assert metrics["elbo"]["value"] + 4 * metrics["elbo"]["mc_se"] < metrics["evidence"]["value"]


def test_what_has_none_is_refused_in_one_line():
    given = torch.randn(5, 1)
    with pytest.raises(InferenceError, match="is infinite: the guide of w is a point"):
        forward_kl(PointLine(), given, given)
    with pytest.raises(InferenceError, match="needs the exact posterior; MaximumAPosteriori has none"):
        forward_kl(MaximumAPosteriori(data_dim=6, latent_dim=2), torch.rand(4, 6))
    pair = LinearRegression()
    pair.guide = lambda *args, **keywords: None
    with pytest.raises(InferenceError, match="needs one latent in the guide"):
        forward_kl(pair, given, given)
