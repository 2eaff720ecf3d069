"""Factor analysis: bounds, gradients and guides against closed forms."""

import math

import pyro.distributions as dist
import pytest
import torch
from cases import exact_factor_analysis
from torch.distributions import kl_divergence

import data
from gallery.models.factor_analysis import DiagonalGuide, FactorAnalysis, FixedVarianceGuide
from inference import SVI, InferenceError, Settings, eval_mode, evaluate
from inference.pairs.run import importance_traces
from inference.pairs.sites import latent_sites


def guide_of(pair, *args):
    with eval_mode(pair):
        return next(iter(latent_sites(importance_traces(pair, args)[1]).values()))["fn"]


def test_factor_analysis_evidence_posterior_and_closed_kl():
    pair, x = exact_factor_analysis()
    z = torch.randn(2, dtype=torch.float64)
    joint = dist.Normal(z @ pair.theta["W"].T, pair.sigma).to_event(1).log_prob(x)
    joint = joint + dist.Normal(torch.zeros_like(z), 1.0).to_event(1).log_prob(z)
    torch.testing.assert_close(joint - pair.posterior(x).log_prob(z), pair.log_evidence(x), rtol=1e-8, atol=1e-8)


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
    assert metrics["elbo"]["unit"] == "nats per data point"


def test_sampled_and_analytic_objectives_estimate_the_same_elbo():
    pair, x = FactorAnalysis().double(), data.load("factor_analysis").to(dtype=torch.float64).x[:100]
    with eval_mode(pair):
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
