"""The Gaussian mixture: enumeration, EM, and SVI."""

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from discrete_cases import ENUM, em_and_svi, near, perturbed, true_mixture
from torch.distributions import kl_divergence

import data
from gallery.models.gaussian_mixture import GaussianMixture
from gallery.models.hmm import HMM
from inference import SVI, Settings, em, encode, eval_mode, evaluate, log_weights, reconstruct, sample


def test_enumerated_mixture_is_logsumexp_in_loss_gradient_and_weights():
    pair, x = perturbed(GaussianMixture(2, 4)), torch.randn(30, 2, dtype=torch.float64)
    exact = pair.log_evidence(x)
    mixture = dist.MixtureSameFamily(dist.Categorical(logits=pair.theta["logits"]), pair.likelihood(torch.arange(4)))
    torch.testing.assert_close(exact, mixture.log_prob(x), rtol=1e-10, atol=1e-10)
    svi = SVI(pair, x, settings=ENUM)
    loss = svi.loss(torch.arange(30))
    torch.testing.assert_close(loss, -exact.sum(), rtol=1e-10, atol=1e-8)
    gradients = [torch.autograd.grad(value, svi.parameters) for value in (loss, -exact.sum())]
    for enumerated, direct in zip(*gradients, strict=True):
        torch.testing.assert_close(enumerated, direct, rtol=1e-8, atol=1e-8)
    with eval_mode(pair):
        torch.testing.assert_close(log_weights(pair, x, k=3), exact.expand(3, 30), rtol=1e-10, atol=1e-8)
        torch.testing.assert_close(encode(pair, x)["y"], pair.posterior(x).probs, rtol=1e-8, atol=1e-8)
    metrics = evaluate(pair, x)
    kl = kl_divergence(pair.posterior(x), dist.Categorical(logits=pair.theta["logits"])).mean().item()
    assert metrics["elbo"]["value"] == pytest.approx(exact.mean().item())
    assert metrics["elbo"]["mc_se"] == pytest.approx(0, abs=1e-12)
    assert metrics["kl"]["value"] == pytest.approx(kl)


def test_minibatches_of_a_mixture_are_scaled_to_all_the_data():
    pair, x = perturbed(GaussianMixture(2, 3)), torch.randn(20, 2, dtype=torch.float64)
    svi = SVI(pair, x, settings=Settings(objective="enum", batch_size=5))
    losses = [svi.loss(svi.rows(step)).item() for step in range(4)]
    assert np.mean(losses) == pytest.approx(-pair.log_evidence(x).sum().item())


def test_mixture_em_never_falls_svi_ends_where_it_does_and_both_pass_the_truth():
    x, truth = data.load("gaussian_mixture").x, true_mixture()
    em_and_svi(near(truth), truth, x, "gaussian_mixture", epochs=5)
    evidence = list(em(GaussianMixture().double(), x.double(), 100))
    assert min(np.diff(evidence)) > -1e-12  # from a random start as well


def test_codes_reconstructions_and_draws_of_a_mixture():
    pair, test = true_mixture(), data.load("gaussian_mixture", "test")
    probs = encode(pair, test.x)["y"]  # (n, components), calibrated: their mean on the true component is their norm's
    right = probs.gather(1, test.labels.unsqueeze(1)).squeeze(1) - probs.square().sum(1)
    assert abs(right.mean()) < 4 * right.std() / math.sqrt(len(right))
    centres = reconstruct(pair, test.x)  # of a component drawn from its responsibilities
    hit = (centres == pair.theta["mean"][test.labels]).all(1).float() - probs.gather(1, test.labels.unsqueeze(1))[:, 0]
    assert abs(hit.mean()) < 4 * hit.std() / math.sqrt(len(hit))
    drawn = sample(pair, test.x, 100)
    assert drawn["x"].shape == (100, 2)
    torch.testing.assert_close(drawn["mean"], pair.theta["mean"][drawn["y"]].detach())


def test_a_component_that_dies_leaves_finite_parameters():
    x = data.load("gaussian_mixture").x
    pair = GaussianMixture()
    with torch.no_grad():
        pair.theta["mean"][0] = 1e3
    evidence = list(em(pair, x, 20))
    assert all(p.isfinite().all() for p in pair.parameters())
    assert min(np.diff(evidence)) > -1e-4  # float32


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("pair", [GaussianMixture(2, components=1), HMM(states=1)])
def test_a_latent_of_one_value_is_certain(pair, rows):
    x = torch.randn(rows, 2)
    assert all(torch.equal(code, torch.ones(rows, 1)) for code in encode(pair, x).values())
    assert torch.equal(reconstruct(pair, x), pair.theta["mean"].detach().expand(rows, 2))
