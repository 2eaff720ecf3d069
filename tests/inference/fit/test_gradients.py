"""Gradients of objectives in expectation.

Bars are 4 standard errors of the same draws, which one comparison in 16,000 exceeds by chance, unless a bound is named.
"""

import math

import pytest
import torch
from cases import build
from fits import fit_with
from known import close, factor_analysis, within

from inference import InferenceError
from inference.fit.gradients import gradient_moments, gradient_noise
from inference.pairs.info import inspect_pair
from inference.pairs.streams import stream


@pytest.mark.parametrize("name", ["trace", "reinforce", "iwae:5", "renyi:0.5:5", "wake-sleep:5", "dreg:5"])
def test_the_guides_gradient_at_the_exact_posterior_averages_to_zero_in_minibatches(name):
    pair, x = factor_analysis(), torch.randn(40, 3, dtype=torch.float64)
    svi = fit_with(pair, name, x, batch_size=10)
    svi.runner.mode = "graph"
    step, of_guide = svi.runner.prepare()[0], {id(p) for p in pair.phi.values()}
    gradients = []
    for i in range(300):
        _, _, *of_all = step(*svi.loss.step_arguments(svi.rows(i)))
        pairs = zip(svi.parameters, of_all, strict=True)
        gradients.append(torch.cat([g.flatten() for p, g in pairs if id(p) in of_guide]))
    gradients = torch.stack(gradients)
    if name == "dreg:5":  # not only on average
        return close(gradients, torch.zeros_like(gradients), 1e-8)
    return within(gradients.mean(0), gradients.var(0) / len(gradients))


def log_normal():
    pair = build("exponential_gaussian:log_normal").double()
    with torch.no_grad():
        pair.eta[-1].bias[1] = -2.0  # a narrow one: bars of heavy tails would be too short
    return pair, torch.randn(40, 1, dtype=torch.float64) + 1


def wide_factor_analysis():
    return factor_analysis(1.5), torch.randn(40, 3, dtype=torch.float64)


LATER = pytest.mark.integration


@pytest.mark.parametrize(
    ("case", "name", "other", "always", "beta"),
    [
        (wide_factor_analysis, "trace", "reinforce", True, 1.0),
        pytest.param(
            wide_factor_analysis, "stl", "trace", False, 1.0, marks=pytest.mark.integration
        ),  # no theorem away from the posterior
        pytest.param(wide_factor_analysis, "loo:4", "reinforce", True, 0.3, marks=LATER),
        (wide_factor_analysis, "dreg:8", "iwae:8", True, 1.0),
        pytest.param(wide_factor_analysis, "dreg:8", "iwae:8", False, 0.3, marks=LATER),
        pytest.param(log_normal, "trace", "reinforce", True, 1.0, marks=LATER),
        (log_normal, "dreg:8", "iwae:8", False, 1.0),  # no theorem: a guide far off has the noisier dreg
    ],
)
def test_two_estimators_of_one_gradient_and_which_is_less_noisy(case, name, other, always, beta):
    (pair, x), blocks, repeats = case(), 8, 50
    ids = {id(p) for p in inspect_pair(pair, (x[:2],)).inference_parameters.values()}
    runs = []
    for svi in (fit_with(pair, n, x, batch_size=20, beta=beta) for n in (name, other)):
        svi.runner.mode = "graph"
        mean, variance = zip(*(gradient_moments(svi, svi.rows(0), repeats) for _ in range(blocks)), strict=True)
        of_guide = torch.cat([torch.full((p.numel(),), id(p) in ids) for p in svi.parameters])
        runs.append((torch.stack(mean).mean(0), torch.stack(variance), torch.stack(variance)[:, of_guide].sum(1)))
    (mean, variance, quiet), (other_mean, other_variance, loud) = runs
    within(mean - other_mean, (variance + other_variance).mean(0) / (blocks * repeats))
    assert not always or loud.mean() - quiet.mean() > 4 * math.sqrt((loud.var() + quiet.var()) / blocks)


def test_running_moments_and_the_groups_of_weights():
    pair, x = factor_analysis(1.5), torch.randn(12, 3, dtype=torch.float64)
    svi = fit_with(pair, "trace", x, batch_size=4)
    torch.manual_seed(stream(0, "gradient_noise"))
    kept = []
    for step in range(3):
        rows = svi.rows(step)
        for _ in range(5):
            loss = svi.loss(rows)
            kept.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, svi.parameters)]) / len(x))
    kept = torch.stack(kept).view(3, 5, -1)
    noise = gradient_noise(svi, minibatches=3, repeats=5)
    variance = kept.var(1).sum(1).mean().item()
    assert noise["all"]["variance"] == pytest.approx(variance)
    assert noise["all"]["squared_norm"] == pytest.approx(kept.mean((0, 1)).square().sum().item() - variance / 15)
    assert noise["all"]["variance"] == pytest.approx(noise["model"]["variance"] + noise["guide"]["variance"])
    with pytest.raises(InferenceError, match="minibatches is 1; expected an integer from 2 on"):
        gradient_noise(svi, minibatches=1)


def test_elbo_iwae_evidence_in_this_order():
    pair, x = factor_analysis(1.5), torch.randn(100, 3, dtype=torch.float64)
    exact = pair.log_evidence(x).mean()
    bounds = []
    for name in ("trace", "iwae:8"):
        svi = fit_with(pair, name, x)
        bounds.append(-torch.stack([svi.loss(torch.arange(100)).detach() for _ in range(60)]) / 100)
    low, high = bounds
    error = [b.std() / math.sqrt(len(b)) for b in bounds]
    assert high.mean() < exact + 4 * error[1]
    assert low.mean() < high.mean() - 4 * (error[0] + error[1])  # and strictly, for this guide
