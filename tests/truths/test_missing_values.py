"""Factor analysis with missing values: evidence, posterior and EM are those of the observed entries."""

import itertools

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

import data
from data.synthetic import FA_MISSING, FA_SIGMA, FA_W
from gallery.models.factor_analysis import FactorAnalysis
from gallery.models.factor_analysis_missing import MissingValues
from inference import SVI, Settings, em, encode, eval_mode, log_weights, reconstruct, sample
from inference.pairs.run import importance_traces

SETS = ("factor_analysis_missing", "factor_analysis")
PATTERNS = torch.tensor(list(itertools.product([False, True], repeat=4)))  # of missing entries: none, ..., all


def drawn():
    """A pair of four coordinates and two factors in float64, and a data point of each pattern of missing entries."""
    pair = MissingValues(data_dim=4).double()
    return pair, torch.randn(len(PATTERNS), 4, dtype=torch.float64).masked_fill(PATTERNS, torch.nan)


def with_exact_guide(pair):
    with torch.no_grad():
        pair.phi["U"].copy_(pair.theta["W"] / pair.sigma.unsqueeze(-1))
        pair.phi["V"].copy_(pair.theta["W"].T / pair.sigma.square())
    return pair


def true_pair():
    """The pair with the parameters that the data were drawn with."""
    pair = MissingValues().double()
    with torch.no_grad():
        pair.theta["W"].copy_(torch.from_numpy(FA_W))
        pair.theta["pre_sigma"].copy_(torch.from_numpy(np.log(np.expm1(FA_SIGMA))))
    return with_exact_guide(pair)


def test_evidence_and_posterior_are_those_of_the_observed_entries():
    pair, x = drawn()
    evidence, posterior = pair.log_evidence(x), pair.posterior(x)
    covariance = pair.theta["W"] @ pair.theta["W"].T + pair.sigma.square().diag()
    assert evidence[-1] == 0  # a row without an entry
    for i, missing in enumerate(PATTERNS[:-1]):
        o = ~missing
        marginal = MultivariateNormal(torch.zeros(int(o.sum())).double(), covariance[o][:, o])
        torch.testing.assert_close(evidence[i], marginal.log_prob(x[i, o]), rtol=1e-8, atol=1e-8)
    for i, missing in enumerate(PATTERNS):
        W, o = pair.theta["W"][~missing], ~missing
        gain = torch.linalg.solve(covariance[o][:, o], W).T  # z and x are jointly normal: the regression of z on x
        torch.testing.assert_close(posterior.mean[i], gain @ x[i, o], rtol=1e-8, atol=1e-8)
        expected = torch.eye(2, dtype=torch.float64) - gain @ W
        torch.testing.assert_close(posterior.covariance_matrix[i], expected, rtol=1e-8, atol=1e-8)


def test_one_set_of_experts_is_the_posterior_of_every_pattern():
    pair, x = drawn()
    with_exact_guide(pair)
    with eval_mode(pair):
        q = importance_traces(pair, (x,))[1].nodes["z"]["fn"]
        assert kl_divergence(q, pair.posterior(x)).abs().max() < 1e-8
    weights = log_weights(pair, x, k=3)
    torch.testing.assert_close(weights, pair.log_evidence(x).expand(3, -1), rtol=1e-8, atol=1e-8)


def test_without_missing_entries_it_is_factor_analysis():
    pair, other = drawn()[0], FactorAnalysis(data_dim=4).double()
    other.theta.load_state_dict(pair.theta.state_dict())
    x = torch.randn(30, 4, dtype=torch.float64)
    torch.testing.assert_close(pair.log_evidence(x), other.log_evidence(x), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(pair.posterior(x).mean, other.posterior(x).mean, rtol=1e-8, atol=1e-8)
    for name, value in other.e_step(x).items():
        torch.testing.assert_close(pair.e_step(x)[name], value, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("objective", ["trace", "analytic", "iwae:3"])
def test_the_gradient_is_finite(objective):
    pair, x = drawn()
    svi = SVI(pair, x, settings=Settings(objective=objective))
    for gradient in torch.autograd.grad(svi.loss(torch.arange(len(x))), svi.parameters):
        assert gradient.isfinite().all()
        assert gradient.any()


def test_a_data_set_is_drawn_with_all_entries():
    pair, x = drawn()
    draws = sample(pair, x, 50)
    assert all(value.isfinite().all() for value in draws.values())
    assert reconstruct(pair, x).isfinite().all()


def test_em_never_falls_and_ends_where_the_gradient_is_zero():
    x, pair = data.load("factor_analysis_missing", dtype=torch.float64).x, MissingValues().double()
    evidence = list(em(pair, x, 1500))
    assert min(np.diff(evidence)) > -1e-12
    pair.log_evidence(x).mean().backward()
    assert all(p.grad.abs().max() < 1e-5 for p in pair.theta.values())


def test_the_data_are_those_of_factor_analysis_with_entries_removed():
    for split in ("train", "test"):
        x, complete = (data.load(name, split).x for name in SETS)
        missing = x.isnan()
        assert torch.equal(x[~missing], complete[~missing])
        error = (FA_MISSING * (1 - FA_MISSING) / missing.numel()) ** 0.5
        assert abs(missing.double().mean() - FA_MISSING) < 4 * error


def test_a_missing_entry_is_predicted_better_than_by_the_mean_of_its_column():
    """And as well as the posterior predictive variance w' S w + sigma^2 states, at the true parameters."""
    pair = true_pair()
    x, complete = (data.load(name, "test", dtype=torch.float64).x for name in SETS)
    missing, W = x.isnan(), pair.theta["W"].detach()
    of_model = (encode(pair, x)["z"] @ W.T - complete).square()[missing]
    of_mean = (x.nanmean(0) - complete).square()[missing]
    better = of_mean - of_model
    assert better.mean() > 4 * better.std() / len(better) ** 0.5
    with torch.no_grad():
        stated = ((W @ pair.posterior(x).covariance_matrix * W).sum(-1) + pair.sigma.square())[missing]
    off = of_model - stated
    assert off.mean().abs() < 4 * off.std() / len(off) ** 0.5


def test_filling_by_the_mean_shrinks_covariances():
    """By the share of the rows that have both entries, where entries are missing independently of the values."""
    x = data.load("factor_analysis_missing", "test", dtype=torch.float64).x
    filled = x.where(~x.isnan(), x.nanmean(0))
    truth = torch.from_numpy(FA_W @ FA_W.T)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        products = (filled[:, i] - filled[:, i].mean()) * (filled[:, j] - filled[:, j].mean())
        error = products.std() / len(products) ** 0.5
        assert abs(products.mean() - (1 - FA_MISSING) ** 2 * truth[i, j]) < 4 * error
