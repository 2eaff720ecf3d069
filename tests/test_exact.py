"""Models whose answers are known: what inference says of them against the truth."""

import math
import sys

import numpy as np
import pyro.distributions as dist
import pytest
import scipy.integrate
import torch
from torch import nn
from torch.distributions import kl_divergence

import data
from gallery.models._distributions import TruncatedNormal
from gallery.models.exponential_gaussian import ExponentialGaussian, PerDatum
from gallery.models.factor_analysis import DiagonalGuide, FactorAnalysis, FixedVarianceGuide
from gallery.models.linear_regression import LinearRegression, MaximumAPosteriori, MeanField
from gallery.recipes import RECIPES
from inference import (
    SVI,
    InferenceError,
    Settings,
    effective_sample_size,
    em,
    evaluate,
    evidence,
    iwae,
    judging,
    log_weights,
)
from inference.pairs import importance_traces, latent_sites


def fit(pair, dataset, **settings):
    for _ in SVI(pair, dataset.x, dataset.given, Settings(**settings)):
        pass
    return pair


def guide_of(pair, *args):
    with judging(pair):
        return next(iter(latent_sites(importance_traces(pair, args)[1]).values()))["fn"]


def exact_factor_analysis(n=50):
    """A factor analysis whose guide is its own exact posterior, in float64, and data."""
    pair = FactorAnalysis().double()
    x = torch.randn(n, 3, dtype=torch.float64)
    posterior = pair.posterior(torch.eye(3, dtype=torch.float64))
    with torch.no_grad():
        pair.phi["V"].copy_(posterior.mean.T)
        pair.phi["L"].copy_(torch.linalg.cholesky(posterior.covariance_matrix[0]))
    return pair, x


# exponential_gaussian


@pytest.mark.parametrize("x", [-3.0, 0.0, 1.5, 7.0])
def test_exponential_gaussian_evidence_and_posterior_by_quadrature(x):
    def joint(z, power=0):
        return z**power * math.exp(-z - 0.5 * (x - z) ** 2) / math.sqrt(2 * math.pi)

    mass, first, second = (scipy.integrate.quad(joint, 0, 30, (p,), epsabs=1e-13)[0] for p in range(3))
    pair, at = ExponentialGaussian().double(), torch.tensor([[x]], dtype=torch.float64)
    posterior = pair.posterior(at)
    assert pair.log_evidence(at).item() == pytest.approx(math.log(mass), abs=1e-6)
    assert posterior.mean.item() == pytest.approx(first / mass, abs=1e-6)
    assert posterior.variance.item() == pytest.approx(second / mass - (first / mass) ** 2, abs=1e-6)
    z = torch.tensor(0.7, dtype=torch.float64)
    assert posterior.log_prob(z).item() == pytest.approx(math.log(joint(0.7) / mass), abs=1e-6)


@pytest.mark.parametrize(
    ("dtype", "loc"),
    [(torch.float32, loc) for loc in (-6.0, 0.0, 8.0)] + [(torch.float64, loc) for loc in (-200.0, -30.0, -6.0, 8.0)],
)
def test_truncated_normal_draws_and_gradients_far_into_the_tail(loc, dtype):
    """Draws have the mean they should; d z / d loc has the mean d E[z] / d loc, which is variance / scale^2."""
    n = 40_000
    at = torch.full((n,), loc, dtype=dtype, requires_grad=True)
    z = TruncatedNormal(at, torch.ones(n, dtype=dtype)).rsample()
    (slope,) = torch.autograd.grad(z.sum(), at)
    assert (z >= 0).all()
    assert slope.isfinite().all()
    with torch.no_grad():
        a = torch.tensor(abs(loc), dtype=torch.float64)
        exact = TruncatedNormal(torch.tensor(loc, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
        mean, variance = (exact.mean, exact.variance) if loc > -20 else (1 / a - 2 / a**3, 1 / a**2 - 6 / a**4)
    for draws, expected in ((z, mean), (slope, variance)):
        error = draws.double().std() / math.sqrt(n)
        assert abs(draws.double().mean() - expected) < 4 * error + 1e-3 * expected


def test_truncated_normal_guide_reaches_the_evidence():
    dataset = data.load("exponential_gaussian")
    pair = fit(ExponentialGaussian(), dataset, **RECIPES["exponential_gaussian"].settings | {"epochs": 15})
    for x in (0.0, 1.5):
        at = torch.tensor([[x]])
        q, p = guide_of(pair, at), pair.posterior(at)
        z = p.sample((20_000,))
        assert pair.log_evidence(at).item() == pytest.approx(0.5 - x + math.log(0.5 * math.erfc((1 - x) / 2**0.5)))
        with judging(pair):
            elbo = log_weights(pair, at, k=20_000)
        error = elbo.std().item() / math.sqrt(len(elbo))
        gap = pair.log_evidence(at).item() - elbo.mean().item()
        assert -4 * error < gap < 0.01
        assert (p.log_prob(z) - q.log_prob(z)).mean() < 0.01


# linear_regression


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


@pytest.mark.parametrize(("batch_size", "tolerance"), [(200, 0.02), (20, 0.05)])
def test_full_covariance_guide_lands_on_the_conjugate_posterior(batch_size, tolerance):
    dataset = data.load("line")
    recipe = RECIPES["linear_regression"].settings
    epochs = recipe["epochs"] * batch_size // recipe["batch_size"]  # as many steps as the recipe has
    pair = fit(LinearRegression(), dataset, **recipe | {"batch_size": batch_size, "epochs": epochs})
    q, p = guide_of(pair, dataset.x, dataset.given), pair.posterior(dataset.x, dataset.given)
    assert ((q.mean - p.mean).abs() / p.stddev).max() < 0.3
    assert (q.stddev / p.stddev - 1).abs().max() < tolerance


def test_mean_field_underestimates_the_variance_by_what_theory_says():
    """At the optimum of a factorised normal the variances are 1 / precision_jj (Bishop, 2006, section 10.1.2)."""
    dataset = data.load("line")
    pair = fit(MeanField(), dataset, **RECIPES["linear_regression:mean_field"].settings)
    q, p = guide_of(pair, dataset.x, dataset.given), pair.posterior(dataset.x, dataset.given)
    theory = p.precision_matrix.diagonal().rsqrt()
    assert ((q.mean - p.mean).abs() / p.stddev).max() < 0.3
    assert (q.stddev / theory - 1).abs().max() < 0.05
    assert (theory / p.stddev).max() < 0.6


# factor_analysis


def test_factor_analysis_evidence_posterior_and_closed_kl():
    pair, x = exact_factor_analysis()
    z = torch.randn(2, dtype=torch.float64)
    joint = dist.Normal(z @ pair.theta["W"].T, pair.sigma).to_event(1).log_prob(x)
    joint = joint + dist.Normal(torch.zeros_like(z), 1.0).to_event(1).log_prob(z)
    torch.testing.assert_close(joint - pair.posterior(x).log_prob(z), pair.log_evidence(x), rtol=1e-8, atol=1e-8)


def test_log_weights_under_the_exact_guide_are_constant():
    pair, x = exact_factor_analysis()
    with judging(pair):
        log_w = log_weights(pair, x, k=7)
    torch.testing.assert_close(log_w, pair.log_evidence(x).expand(7, -1), rtol=1e-8, atol=1e-8)
    ess = effective_sample_size(log_w)
    torch.testing.assert_close(ess, torch.full_like(ess, 7.0), rtol=1e-8, atol=1e-8)


def test_iwae_1_is_the_elbo_and_iwae_rises_with_k_below_the_evidence():
    pair, x = FactorAnalysis().double(), torch.randn(200, 3, dtype=torch.float64)
    pair.load_state_dict(exact_factor_analysis()[0].state_dict())
    with torch.no_grad():
        pair.phi["L"].mul_(1.5)  # too wide a guide, so that there is a gap
    with judging(pair):
        log_w = log_weights(pair, x, k=4096)
    torch.testing.assert_close(iwae(log_w[:1]), log_w[0])
    levels = [1, 4, 16, 64]
    bounds = torch.stack([iwae(log_w.view(k, -1, len(x))).mean(0) for k in levels]).mean(1)
    spread = [iwae(log_w.view(k, -1, len(x))).mean(1).std() / math.sqrt(4096 // k) for k in levels]
    evidence = pair.log_evidence(x).mean()
    for i in range(3):
        assert bounds[i + 1] - bounds[i] > -4 * (spread[i] + spread[i + 1])
    assert bounds[0] < bounds[3] - 4 * (spread[0] + spread[3])  # the gap is real: the test could fail
    assert bounds[3] < evidence + 4 * spread[3]


def test_evaluate_agrees_with_the_closed_forms():
    pair, x = FactorAnalysis(), data.load("factor_analysis", "test").x
    q, p = guide_of(pair, x), pair.posterior(x)
    exact = (pair.log_evidence(x) - kl_divergence(q, p)).mean().item()
    metrics = evaluate(pair, x, particles=64)
    assert abs(metrics["elbo"]["value"] - exact) < 4 * metrics["elbo"]["mc_se"]
    prior = dist.MultivariateNormal(torch.zeros(2), torch.eye(2))
    closed = kl_divergence(q, prior).mean().item()
    assert metrics["kl_per_latent"]["z"] == [pytest.approx(closed, rel=1e-5)]
    assert abs(metrics["kl"]["value"] - closed) < 4 * metrics["kl"]["mc_se"]
    assert metrics["evidence"]["value"] == pytest.approx(pair.log_evidence(x).mean().item())
    assert metrics["elbo"]["n"] == len(x)
    assert metrics["elbo"]["unit"] == "nats per datum"


def test_sampled_and_analytic_objectives_estimate_the_same_elbo():
    pair, x = FactorAnalysis().double(), data.load("factor_analysis").to(dtype=torch.float64).x[:100]
    with judging(pair):
        exact = -(pair.log_evidence(x) - kl_divergence(guide_of(pair, x), pair.posterior(x))).sum()
    for name in ("trace", "analytic"):
        svi = SVI(pair, x, settings=Settings(objective=name))
        losses = torch.stack([svi.loss(torch.arange(len(x))).detach() for _ in range(200)])
        assert abs(losses.mean() - exact) < 4 * losses.std() / math.sqrt(200), name


def test_enumeration_of_nothing_is_refused():
    with pytest.raises(InferenceError, match="no discrete latent"):
        SVI(FactorAnalysis(), torch.randn(5, 3), settings=Settings(objective="enum"))


def test_the_elbo_gradient_of_the_exact_guide_averages_to_zero():
    pair, x = exact_factor_analysis(40)
    svi = SVI(pair, x, settings=Settings(batch_size=10), only="guide")
    gradients = []
    for step in range(400):
        gradient = torch.autograd.grad(svi.loss(svi.rows(step)), svi.parameters)
        gradients.append(torch.cat([g.flatten() for g in gradient]))
    gradients = torch.stack(gradients)
    live = gradients.std(0) > 0  # the upper triangle of L is not used
    error = gradients.std(0)[live] / math.sqrt(len(gradients))
    assert live.sum() == 9
    assert (gradients.mean(0)[live].abs() < 4 * error).all()


def test_a_fixed_variance_costs_the_kl_of_the_wrong_scale():
    pair = FixedVarianceGuide(variance=0.5).double()
    x = torch.randn(10, 3, dtype=torch.float64)
    costs = []
    for variance in (0.5, 1.0, 2.0):
        pair.scale.fill_(math.sqrt(variance))
        costs.append(kl_divergence(guide_of(pair, x), pair.posterior(x)).mean().item())
    assert costs[0] < costs[1] < costs[2]


def test_diagonal_guide_cannot_close_the_gap():
    pair, x = DiagonalGuide().double(), torch.randn(10, 3, dtype=torch.float64)
    p = pair.posterior(x)
    with torch.no_grad():  # the best diagonal: exact mean, 1 / precision_jj
        pair.phi["V"].copy_(pair.posterior(torch.eye(3, dtype=torch.float64)).mean.T)
        pair.phi["scale"].copy_(p.precision_matrix[0].diagonal().rsqrt())
    correlation = p.covariance_matrix[0] / p.stddev[0].outer(p.stddev[0])
    gap = kl_divergence(guide_of(pair, x), p).mean().item()
    assert gap == pytest.approx(-0.5 * math.log(1 - correlation[0, 1].item() ** 2), rel=1e-6)
    assert gap > 0


def test_em_never_falls_and_ends_where_the_gradient_is_zero():
    x = data.load("factor_analysis").x.double()
    pair = FactorAnalysis().double()
    evidence = list(em(pair, x, 600))
    assert min(np.diff(evidence)) > -1e-12
    pair.log_evidence(x).mean().backward()
    assert all(p.grad.abs().max() < 1e-5 for p in pair.theta.values())


class Errors(nn.Module):
    """x ~ Normal(slope * given + z, 1) with z ~ Normal(0, 1) for each datum: its slope is that of least squares."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def model(self, x, given, total=None):
        """Of x and given, (n,)."""

    def log_evidence(self, x, given):
        return dist.Normal(self.slope * given, 2**0.5).log_prob(x)

    def e_step(self, x, given):
        return {"given": given, "x": x - (x - self.slope * given) / 2}

    def m_step(self, statistics):
        given = statistics["given"]
        self.slope.copy_((statistics["x"] * given).sum() / given.square().sum())


def test_em_takes_covariates():
    given = torch.randn(50, dtype=torch.float64)
    x, pair = 2 * given + torch.randn_like(given), Errors()
    evidence = list(em(pair, x, 60, given))
    assert min(np.diff(evidence)) > -1e-12
    assert pair.slope.item() == pytest.approx((x @ given / (given @ given)).item(), rel=1e-12)
    with pytest.raises(InferenceError, match="conditions on labels or covariates"):
        next(em(pair, x, 1))


def test_bounds_are_the_same_in_any_pieces(monkeypatch):
    """Kept a few at a time, and compiled where there are many tiles: other draws, the same numbers within 4 errors."""
    x = data.load("factor_analysis", "test").x[:40]
    pair = FactorAnalysis()
    whole = evaluate(pair, x, particles=64)
    monkeypatch.setattr(sys.modules["inference.evaluate"], "KEPT", 640)
    monkeypatch.setattr(evidence, "COMPILE_TILES", 3)
    compiled, compiles = [], evidence.fused
    monkeypatch.setattr(evidence, "fused", lambda *args: compiled.append(args) or compiles(*args))
    pieces = evaluate(pair, x, particles=64, at_a_time=100)
    assert len(compiled) == 1  # for all pieces
    for name in ("elbo", "kl", "reconstruction"):  # and not iwae: that of an unfitted pair has errors of its own
        a, b = whole[name], pieces[name]
        assert a["n"] == b["n"] == 40
        assert a["value"] != b["value"]
        assert abs(a["value"] - b["value"]) < 4 * (a["mc_se"] ** 2 + b["mc_se"] ** 2) ** 0.5


def test_compiled_pieces_have_all_terms_of_the_same_draws(monkeypatch):
    """Once they had not: every term was computed from draws of its own, in three times the time."""
    x, pair = data.load("factor_analysis", "test").x[:20], FactorAnalysis()
    monkeypatch.setattr(evidence, "COMPILE_TILES", 3)
    with judging(pair):
        drawn = evidence.draws(pair, x, k=50, at_a_time=250)
        torch.manual_seed(0)
        compiled = evidence.draws(pair, x, k=50, at_a_time=250)
        monkeypatch.setattr(evidence, "COMPILE_TILES", 1000)
        torch.manual_seed(0)
        expected = evidence.draws(pair, x, k=50, at_a_time=250)
    assert torch.equal(drawn["weight"], drawn["elbo"])
    for name, value in expected.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-4, atol=1e-4)


def test_pieces_are_of_their_own_rows(monkeypatch):
    """Where every datum has parameters of its own, here such that the guide of each is far from the others'."""
    torch.manual_seed(0)
    pair, x = PerDatum(total=40), torch.linspace(0.5, 8.0, 40).unsqueeze(-1)
    with torch.no_grad():
        pair.eta.weight[:, 0] = x[:, 0]
    whole = evaluate(pair, x, particles=64, held_out=False)
    monkeypatch.setattr(sys.modules["inference.evaluate"], "KEPT", 640)
    monkeypatch.setattr(sys.modules["inference.evaluate"], "ROWS", 7)
    pieces = evaluate(pair, x, particles=64, held_out=False)
    for name in ("elbo", "kl"):
        a, b = whole[name], pieces[name]
        assert abs(a["value"] - b["value"]) < 4 * (a["mc_se"] ** 2 + b["mc_se"] ** 2) ** 0.5
    (kl,), (kl_in_pieces,) = whole["kl_per_latent"]["z"], pieces["kl_per_latent"]["z"]
    assert kl == pytest.approx(kl_in_pieces, rel=1e-5)  # of the same noise
