"""Log-weights and bounds: exact guides, more draws, parts and compiled tiles."""

import math

import pytest
import torch
from cases import exact_factor_analysis
from known import within

import data
from gallery.models.exponential_gaussian import PerDatum
from gallery.models.factor_analysis import FactorAnalysis
from inference import effective_sample_size, eval_mode, evaluate, iwae, log_weights
from inference.evaluation.log_weights import importance_terms, iwae_variance
from inference.fit.graph import fused


def test_log_weights_under_the_exact_guide_are_constant():
    pair, x = exact_factor_analysis()
    with eval_mode(pair):
        log_w = log_weights(pair, x, k=7)
    torch.testing.assert_close(log_w, pair.log_evidence(x).expand(7, -1), rtol=1e-8, atol=1e-8)
    ess = effective_sample_size(log_w)
    torch.testing.assert_close(ess, torch.full_like(ess, 7.0), rtol=1e-8, atol=1e-8)


def test_iwae_1_is_the_elbo_and_iwae_rises_with_k_below_the_evidence():
    pair, x = FactorAnalysis().double(), torch.randn(200, 3, dtype=torch.float64)
    pair.load_state_dict(exact_factor_analysis()[0].state_dict())
    with torch.no_grad():
        pair.phi["L"].mul_(1.5)  # too wide a guide, so that there is a gap
    with eval_mode(pair):
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


def test_the_variance_of_a_log_mean_is_not_biased_by_few_draws():
    torch.manual_seed(0)
    noise, n = 0.01, 200_000  # so little that the first order is all: the variance of the mean of k is noise^2 / k
    for k in (2, 4, 16):
        log_w = noise * torch.randn(k, n, dtype=torch.float64)
        variance = iwae_variance(log_w)
        within((variance.mean() - noise**2 / k).reshape(1), (variance.var() / n).reshape(1))
    assert iwae_variance(log_w[:1]).isnan().all()


@pytest.mark.parametrize("compiles", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_bounds_are_the_same_in_any_parts(monkeypatch, compiles):
    """With few draws in memory, and compiled where there are many tiles: other draws, the same numbers."""
    x = data.load("factor_analysis", "test").x[:40]
    pair = FactorAnalysis()
    whole = evaluate(pair, x, particles=64)
    monkeypatch.setattr("inference.evaluation.metrics.MAX_DRAWS_IN_MEMORY", 640)
    monkeypatch.setattr("inference.evaluation.log_weights.COMPILE_TILES", 3)
    compiled = []

    def recorded(*args):
        compiled.append(args)
        return fused(*args) if compiles else args[0]

    monkeypatch.setattr("inference.evaluation.log_weights.fused", recorded)
    parts = evaluate(pair, x, particles=64, at_a_time=100)
    assert len(compiled) == 1  # for all parts
    for name in ("elbo", "kl", "reconstruction"):  # not iwae: the first-order error of an unfitted pair is too small
        a, b = whole[name], parts[name]
        assert a["n"] == b["n"] == 40
        assert a["value"] != b["value"]
        assert abs(a["value"] - b["value"]) < 4 * (a["mc_se"] ** 2 + b["mc_se"] ** 2) ** 0.5


@pytest.mark.integration
def test_compiled_tiles_have_all_terms_of_the_same_draws(monkeypatch):
    """A compiled tile once computed every term from separate draws, in three times the time."""
    x, pair = data.load("factor_analysis", "test").x[:20], FactorAnalysis()
    monkeypatch.setattr("inference.evaluation.log_weights.COMPILE_TILES", 3)
    with eval_mode(pair):
        drawn = importance_terms(pair, x, k=50, at_a_time=250)
        torch.manual_seed(0)
        compiled = importance_terms(pair, x, k=50, at_a_time=250)
        monkeypatch.setattr("inference.evaluation.log_weights.COMPILE_TILES", 1000)
        torch.manual_seed(0)
        expected = importance_terms(pair, x, k=50, at_a_time=250)
    assert torch.equal(drawn["weight"], drawn["elbo"])
    for name, value in expected.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-4, atol=1e-4)


def test_parts_use_the_parameters_of_their_rows(monkeypatch):
    """A guide with parameters for each data point, so that the guide of each is far from the others."""
    torch.manual_seed(0)
    pair, x = PerDatum(total=40), torch.linspace(0.5, 8.0, 40).unsqueeze(-1)
    with torch.no_grad():
        pair.eta.weight[:, 0] = x[:, 0]
    whole = evaluate(pair, x, particles=64, held_out=False)
    monkeypatch.setattr("inference.evaluation.metrics.MAX_DRAWS_IN_MEMORY", 640)
    monkeypatch.setattr("inference.evaluation.metrics.MAX_ROWS", 7)
    parts = evaluate(pair, x, particles=64, held_out=False)
    for name in ("elbo", "kl"):
        a, b = whole[name], parts[name]
        assert abs(a["value"] - b["value"]) < 4 * (a["mc_se"] ** 2 + b["mc_se"] ** 2) ** 0.5
    (kl,), (kl_in_parts,) = whole["kl_per_latent"]["z"], parts["kl_per_latent"]["z"]
    assert kl == pytest.approx(kl_in_parts, rel=1e-5)  # of the same noise
