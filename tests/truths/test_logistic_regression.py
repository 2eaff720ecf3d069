"""Logistic regression: posterior and evidence by quadrature, and the guides against them."""

import pyro.distributions as dist
import pytest
import torch
from free_guides import guide_of

import data
from gallery.catalogue.recipes import RECIPES
from gallery.models import MODELS
from gallery.models.logistic_regression import LogisticRegression
from inference import SVI, Settings, nuts, with_guide
from inference.evaluation.log_weights import log_weights
from inference.guides.registry import finish
from inference.pairs.run import eval_mode

DRAWS = 400


pytestmark = pytest.mark.usefixtures("double")


def train():
    return data.load("logistic", dtype=torch.float64)


def fit(name):
    dataset = train()
    torch.manual_seed(0)
    pair = MODELS[name]()
    settings = RECIPES[name].settings | {"epochs": 500, "batch_size": 40}
    for _ in SVI(pair, dataset.x, dataset.given, Settings(**settings)):
        pass
    return pair, dataset.x, dataset.given


def joint(pair, x, given, w):
    """log p(x, w), (m,), of w, (m, 2), by Pyro's distributions."""
    likelihood = dist.Bernoulli(logits=w @ pair.design(given).T).log_prob(x.squeeze(-1)).sum(-1)
    return likelihood + dist.Normal(0.0, pair.prior_scale).log_prob(w).sum(-1)


@pytest.mark.parametrize(("n", "prior_scale"), [(0, 5.0), (1, 5.0), (3, 5.0), (40, 5.0), (40, 0.5), (3, 10.0)])
def test_posterior_and_evidence_are_sums_over_another_grid(n, prior_scale):
    """A grid over the prior, which does not know the mode, has the same sums."""
    dataset = train().head(n)
    pair = LogisticRegression(prior_scale=prior_scale).double()
    p = pair.posterior(dataset.x, dataset.given)
    axis = torch.linspace(-9 * prior_scale, 9 * prior_scale, 601 if prior_scale <= 5 else 1201)
    w = torch.cartesian_prod(axis, axis)
    log_mass = joint(pair, dataset.x, dataset.given, w) + 2 * (axis[1] - axis[0]).log()
    torch.testing.assert_close(p.log_evidence, log_mass.logsumexp(0), rtol=0, atol=1e-8)
    torch.testing.assert_close(pair.log_evidence(dataset.x, dataset.given), p.log_evidence)
    mean = log_mass.softmax(0) @ w
    torch.testing.assert_close(p.mean, mean, rtol=0, atol=1e-7 * prior_scale)
    second = (w - mean).T @ (log_mass.softmax(0).unsqueeze(-1) * (w - mean))
    torch.testing.assert_close(p.covariance_matrix, second, rtol=0, atol=1e-6 * prior_scale**2)
    torch.testing.assert_close(p.log_prob(w[:3]), log_mass[:3] - 2 * (axis[1] - axis[0]).log() - p.log_evidence)


def test_separated_classes_have_a_posterior_and_more_covariates_have_no_exact_one():
    given = torch.linspace(-2, 2, 10, dtype=torch.float64).unsqueeze(-1)
    p = LogisticRegression().double().posterior((given > 0).double(), given)
    assert p.mean[1] > 3
    assert p.mean.isfinite().all()
    more = LogisticRegression(given_dim=2)
    assert more.log_evidence is None
    assert more.posterior is None


def test_draws_of_the_posterior_have_its_moments():
    dataset = train()
    p = LogisticRegression().double().posterior(dataset.x, dataset.given)
    w = p.sample((4000,))
    assert ((w.mean(0) - p.mean).abs() < 4 * p.stddev / len(w) ** 0.5).all()


@pytest.mark.integration
def test_each_guide_is_below_the_evidence_and_independence_costs_a_nat():
    """KL(q || p) of the full guide and of the independent one, over draws of the guide.

    For a normal posterior of correlation r the best independent guide would lose -log(1 - r^2) / 2. The posterior is
    skewed, which changes that by less than the full guide loses for it, and a quarter.
    """
    gaps = {}
    for name in ("logistic_regression", "logistic_regression:mean_field"):
        pair, x, given = fit(name)
        with eval_mode(pair, 0):
            log_r = log_weights(pair, x, given, DRAWS).squeeze(1) - pair.log_evidence(x, given)
        assert log_r.mean() < 0
        gaps[name] = -log_r.mean().item(), log_r.std().item() / DRAWS**0.5
    (full, error), (independent, other) = gaps.values()
    assert full < 0.1 + 4 * error
    p = pair.posterior(x, given)
    r = p.covariance_matrix[0, 1] / p.stddev.prod()
    expected = -0.5 * (1 - r**2).log().item()
    assert 1 < expected < 1.3
    assert abs(independent - expected) < 0.25 * expected + full + 4 * (error + other)


def test_laplace_has_the_mode_and_the_curvature_there():
    dataset = train()
    pair = with_guide(LogisticRegression().double(), "laplace", dataset.x, dataset.given)
    q = guide_of(finish(pair, dataset.x, dataset.given), dataset.x, dataset.given)
    p = LogisticRegression().double().posterior(dataset.x, dataset.given)
    mode = q.mean.detach()
    torch.testing.assert_close(torch.autograd.functional.jacobian(p.log_prob, mode), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(-torch.autograd.functional.hessian(p.log_prob, mode), q.precision_matrix)
    assert ((p.mean - mode).abs() > 0.2 * p.stddev).all()  # the posterior is skewed


@pytest.mark.slow
def test_nuts_has_the_moments_of_the_grid():
    dataset = train()
    pair = LogisticRegression().double()
    result = nuts(pair, dataset.x, dataset.given, draws=400, warmup=200)
    p, w = pair.posterior(dataset.x, dataset.given), result["summary"]["w"]
    assert result["divergences"] == 0
    assert ((w["mean"] - p.mean).abs() < 4 * w["mcse"]).all()
    squares = (result["draws"]["w"] - p.mean).square()
    error = squares.flatten(0, 1).std(0) / w["ess"].sqrt()
    assert ((squares.mean((0, 1)) - p.variance).abs() < 4 * error).all()
