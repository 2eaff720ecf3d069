"""Linear regression: posterior, evidence and guides against closed forms."""

import math

import pyro.distributions as dist
import pytest
import torch

import data
from gallery.catalogue.recipes import RECIPES
from gallery.models.linear_regression import LinearRegression, MaximumAPosteriori, MeanField
from inference import SVI, Settings, eval_mode
from inference.pairs.run import importance_traces
from inference.pairs.sites import latent_sites


def fit(pair, dataset, **settings):
    for _ in SVI(pair, dataset.x, dataset.given, Settings(**settings)):
        pass
    return pair


def guide_of(pair, *args):
    with eval_mode(pair):
        return next(iter(latent_sites(importance_traces(pair, args)[1]).values()))["fn"]


def test_linear_regression_posterior_and_evidence_are_the_textbooks():
    pair, given = LinearRegression(given_dim=2).double(), torch.randn(9, 2, dtype=torch.float64)
    x = torch.randn(9, 1, dtype=torch.float64)
    w = torch.randn(3, dtype=torch.float64)  # Bayes' rule holds at any w: p(x) = p(x | w) p(w) / p(w | x)
    likelihood = dist.Normal(pair.design(given) @ w, pair.noise).log_prob(x.squeeze(-1)).sum()
    bayes = likelihood + pair.prior(x).log_prob(w) - pair.posterior(x, given).log_prob(w)
    assert pair.log_evidence(x, given).item() == pytest.approx(bayes.item(), abs=1e-8)
    flat = LinearRegression(given_dim=2, prior_scale=1e6).double()
    torch.testing.assert_close(flat.posterior(x, given).mean, flat.least_squares(x, given), rtol=1e-6, atol=1e-6)


def test_least_squares_is_the_map_corner_of_the_same_objective():
    """With a Delta guide -ELBO is SSE / (2 noise^2) - log prior + const, so its optimum is ridge regression."""
    dataset = data.load("line").to(dtype=torch.float64)
    pair = MaximumAPosteriori().double()
    with torch.no_grad():
        pair.q["m"].copy_(torch.tensor([0.3, 1.1]))
    loss = SVI(pair, dataset.x, dataset.given).loss(torch.arange(len(dataset)))
    residual = dataset.x.squeeze(-1) - pair.design(dataset.given) @ pair.q["m"]
    constant = len(dataset) * math.log(pair.noise * math.sqrt(2 * math.pi))
    expected = residual.square().sum() / (2 * pair.noise**2) + constant - pair.prior(dataset.x).log_prob(pair.q["m"])
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-8)
    with torch.no_grad():
        pair.q["m"].copy_(pair.posterior(dataset.x, dataset.given).mean)
    loss = SVI(pair, dataset.x, dataset.given).loss(torch.arange(len(dataset)))
    (gradient,) = torch.autograd.grad(loss, pair.q["m"])
    torch.testing.assert_close(gradient, torch.zeros(2, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("batch_size", "tolerance"), [(200, 0.02), pytest.param(20, 0.05, marks=pytest.mark.slow)])
def test_full_covariance_guide_lands_on_the_conjugate_posterior(batch_size, tolerance):
    dataset = data.load("line")
    recipe = RECIPES["linear_regression"].settings
    epochs = recipe["epochs"] * batch_size // recipe["batch_size"]  # as many steps as the recipe has
    pair = fit(LinearRegression(), dataset, **recipe | {"batch_size": batch_size, "epochs": epochs})
    q, p = guide_of(pair, dataset.x, dataset.given), pair.posterior(dataset.x, dataset.given)
    assert ((q.mean - p.mean).abs() / p.stddev).max() < 0.3
    assert (q.stddev / p.stddev - 1).abs().max() < tolerance


def test_mean_field_underestimates_the_variance_to_one_over_the_precision():
    """At the optimum of a factorised normal the variances are 1 / precision_jj (Bishop, 2006, section 10.1.2)."""
    dataset = data.load("line")
    pair = fit(MeanField(), dataset, **RECIPES["linear_regression:mean_field"].settings)
    q, p = guide_of(pair, dataset.x, dataset.given), pair.posterior(dataset.x, dataset.given)
    theory = p.precision_matrix.diagonal().rsqrt()
    assert ((q.mean - p.mean).abs() / p.stddev).max() < 0.3
    assert (q.stddev / theory - 1).abs().max() < 0.05
    assert (theory / p.stddev).max() < 0.6
