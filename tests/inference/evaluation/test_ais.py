"""Annealed importance sampling: unbiased weights, bounds from both sides, models that are refused.

Bars are 4 standard errors of the same draws, which one comparison in 16,000 exceeds by chance, unless a bound is named.
"""

import math

import pyro.distributions as dist
import pytest
import torch
from cases import arguments, build
from known import Chain, close, factor_analysis, simulated, within

from gallery.models.exponential_gaussian import ExponentialGaussian
from gallery.models.vae import VAE
from inference import InferenceError, ais, bdmc, iwae, param_scope, reverse_ais
from inference.evaluation.ais import gradients, upper
from inference.fit.graph import UntraceableError
from inference.pairs.run import log_joint


def exponential_gaussian():
    return ExponentialGaussian().double(), torch.tensor([[-1.0], [0.5], [3.0]], dtype=torch.float64)


def chain():
    return Chain().double(), torch.tensor([[-1.0], [0.5], [3.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    "case", [exponential_gaussian, chain, pytest.param(lambda: simulated(3)[:2], marks=pytest.mark.integration)]
)
def test_annealed_weights_are_unbiased_forwards_and_backwards(case):
    """E[w] = p(x) from the prior; E[1 / w] = 1 / p(x) from the exact posterior, at a separate draw for each chain.
    With these steps the weights are within a factor of two of each other, mostly: bars from few would be too short.
    """
    pair, x = case()
    with torch.no_grad():
        exact, many = pair.log_evidence(x), x.repeat(1000, 1)
        forward = (ais(pair, x, chains=1000, steps=200, leapfrog=3) - exact).exp()
        within(forward.mean(0) - 1, forward.var(0) / 1000)
        if hasattr(pair, "posterior"):
            z = {"z": pair.posterior(many).sample()}
            backward = exact.repeat(1000) - reverse_ais(pair, many, z, chains=1, steps=200, leapfrog=3)[0]
            backward = backward.exp().view(1000, -1)
            within(backward.mean(0) - 1, backward.var(0) / 1000)


@pytest.mark.parametrize(("steps", "widest"), [(60, math.inf), pytest.param(600, 0.05, marks=pytest.mark.slow)])
def test_annealing_holds_the_evidence_of_factor_analysis_from_both_sides(steps, widest):
    pair, x, z = simulated(80)
    low = iwae(ais(pair, x, chains=8, steps=steps, leapfrog=5))
    high = upper(reverse_ais(pair, x, z, chains=8, steps=steps, leapfrog=5))
    with torch.no_grad():
        exact = pair.log_evidence(x)
    for difference in (low - exact, exact - high):
        assert difference.mean() < 4 * difference.std() / math.sqrt(len(x))
    width = high - low
    assert width.mean() + 4 * width.std() / math.sqrt(len(x)) < widest


def test_bidirectional_monte_carlo_of_a_vae():
    pair, like = VAE(data_dim=6, latent_dim=2, hidden=(5,)).double(), torch.zeros(1, 6, dtype=torch.float64)
    bounds = bdmc(pair, like, 40, chains=8, steps=60, leapfrog=5)
    assert "evidence" not in bounds
    width = bounds["upper"]["value"] - bounds["lower"]["value"]
    assert bounds["width"]["value"] == pytest.approx(width)
    assert width > -4 * bounds["width"]["se"]
    assert bounds["lower"] | {"n": 40, "chains": 8, "steps": 60, "unit": "nats per data point"} == bounds["lower"]
    known = bdmc(factor_analysis(), torch.zeros(1, 3, dtype=torch.float64), 5, chains=2, steps=5, leapfrog=2)
    assert known["evidence"]["exact"]


def test_annealing_in_parts_has_unbiased_weights(monkeypatch):
    """Chunks of rows bound the memory; their noise is another, their weights are unbiased as well."""
    monkeypatch.setattr("inference.evaluation.ais.MAX_ROWS", 2000)
    pair, x = exponential_gaussian()
    weights = ais(pair, x, chains=1000, steps=30, leapfrog=3)
    assert weights.shape == (1000, 3)
    ratio = (weights - pair.log_evidence(x)).exp()
    within(ratio.mean(0) - 1, ratio.var(0) / 1000)


def test_gradients_of_annealing_are_counted(monkeypatch):
    counted = 0

    class Counts(ExponentialGaussian):
        def model(self, x, total=None):
            nonlocal counted
            counted += len(x) if torch.is_grad_enabled() else 0
            return super().model(x, total)

    def untraceable(*args):
        raise UntraceableError("at a line")

    monkeypatch.setattr("inference.evaluation.ais.traced", untraceable)
    x = torch.zeros(3, 1, dtype=torch.float64)
    for chains, steps, leapfrog in ((2, 3, 4), (7, 1, 2)):
        counted = 0
        ais(Counts().double(), x, chains=chains, steps=steps, leapfrog=leapfrog)
        assert counted == 3 * gradients(chains, steps, leapfrog)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("linear_regression", "w of LinearRegression is global"),
        ("gaussian_mixture", "no continuous latent"),
        ("gmvae", "z of GMVAE has an enumerated parent"),
        ("autoencoder", "the prior of z in Autoencoder is flat"),
        ("ss_vae", "the model of SSVAE cannot enumerate"),
    ],
)
def test_annealing_refuses(model, message):
    with pytest.raises(InferenceError, match=message):
        ais(build(model), *arguments(model))
    with pytest.raises(InferenceError, match="chains is 0; expected an integer from 1 on"):
        ais(build("vae"), *arguments("vae"), chains=0)
    with pytest.raises(InferenceError, match="draws of z are needed"):
        reverse_ais(build("vae"), *arguments("vae"), {})


def test_the_joint_density_of_all_sites():
    pair, x = Chain().double(), torch.randn(5, 1, dtype=torch.float64)
    z = {"z_1": torch.randn(5, dtype=torch.float64), "z_2": torch.randn(5, dtype=torch.float64)}
    with param_scope():
        prior, likelihood = log_joint(pair, (x,), z)
    close(prior, dist.Normal(0, 1).log_prob(z["z_1"]) + dist.Normal(z["z_1"], 1).log_prob(z["z_2"]))
    close(likelihood, dist.Normal(z["z_2"], 1).log_prob(x[:, 0]))
