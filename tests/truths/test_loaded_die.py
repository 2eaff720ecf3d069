"""The loaded die: evidence, posterior, and the softmax transform."""

import math

import pyro.distributions as dist
import torch
from discrete_cases import fit
from torch.distributions import kl_divergence

import data
from gallery.models._distributions import Softmax
from gallery.models.loaded_die import LoadedDie, SoftmaxGuide
from inference import encode, eval_mode, iwae, log_weights, reconstruct, sample


def test_loaded_die_evidence_is_bayes_rule_and_posterior_the_counts():
    x = data.load("loaded_die").to(dtype=torch.float64).x
    pair = LoadedDie(concentration=0.7)
    p = dist.Dirichlet(torch.ones(6, dtype=torch.float64)).sample()
    joint = pair.prior(x).log_prob(p) + (x @ p.log()).sum()
    torch.testing.assert_close(joint - pair.posterior(x).log_prob(p), pair.log_evidence(x), rtol=1e-10, atol=1e-8)
    one_by_one = [(pair.posterior(x[:i]).mean @ x[i]).log() for i in range(len(x))]  # predicted from those before it
    torch.testing.assert_close(sum(one_by_one), pair.log_evidence(x), rtol=1e-10, atol=1e-8)


def test_log_weights_of_the_exact_dirichlet_guide_are_the_evidence():
    x, pair = data.load("loaded_die").to(dtype=torch.float64).x, LoadedDie().double()
    exact = pair.posterior(x).concentration
    with torch.no_grad():
        pair.q["log_total"].copy_(exact.sum().log())
        pair.q["logits"].copy_(exact.log())
    with eval_mode(pair):
        log_w = log_weights(pair, x, k=5)
    torch.testing.assert_close(log_w, pair.log_evidence(x).expand(5, 1), rtol=1e-10, atol=1e-8)


def test_softmax_transform_is_a_bijection_with_its_jacobian():
    eta, f = torch.randn(4, dtype=torch.float64), Softmax()
    p = f(eta)
    torch.testing.assert_close(f.inv(p), eta, rtol=1e-10, atol=1e-10)
    jacobian = torch.autograd.functional.jacobian(lambda e: f(e)[:-1], eta)
    torch.testing.assert_close(f.log_abs_det_jacobian(eta, p), jacobian.det().abs().log(), rtol=1e-10, atol=1e-10)
    assert f.forward_shape((3, 4)) == (3, 5)
    assert f.inverse_shape((3, 5)) == (3, 4)


def test_both_guides_of_the_die_come_to_the_posterior():
    """The Dirichlet one reaches it; the logistic-normal one has a gap, which the bound of many draws closes."""
    x = data.load("loaded_die").x[:40]
    short = {"epochs": 150, "batch_size": 40, "particles": 8}
    pair = fit(LoadedDie(), x, "loaded_die", **short)
    with eval_mode(pair):
        q = dist.Dirichlet((pair.q["log_total"] + pair.q["logits"].log_softmax(0)).exp())
    assert kl_divergence(q, pair.posterior(x)) < 0.05
    softmax = fit(SoftmaxGuide(), x, "loaded_die:softmax", **short)
    with eval_mode(softmax):
        log_w = log_weights(softmax, x, k=500)
    error = log_w.std().item() / math.sqrt(len(log_w))
    missing = softmax.log_evidence(x).item() - log_w.mean().item()
    assert 0.01 - 4 * error < missing < 0.15 + 4 * error
    assert abs(iwae(log_w) - softmax.log_evidence(x)) < 4 * log_w.exp().std() / log_w.exp().mean() / math.sqrt(500)
    drawn = sample(pair, x, 50)
    assert drawn["x"].sum(1).eq(1).all()
    torch.testing.assert_close(drawn["mean"], drawn["p"].expand(50, 6))
    torch.testing.assert_close(encode(pair, x)["p"], q.mean)
    assert reconstruct(pair, x).shape == x.shape
