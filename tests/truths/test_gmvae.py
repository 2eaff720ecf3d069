"""The Gaussian mixture VAE: enumeration, its relaxations, and their bounds."""

import math

import pyro.distributions as dist
import pytest
import torch
from cases import SMALL
from pyro import poutine
from torch.distributions import kl_divergence
from vae_cases import C, N, close, drawn_z, loss, small, svi

from gallery.models._distributions import GumbelSoftmax
from gallery.models.gmvae import GMVAE
from gallery.models.gmvae_relaxed import CategoricalKL, Relaxed, StraightThrough
from gallery.models.ss_vae import SSVAE
from gallery.runs import training as runs
from inference import (
    InferenceError,
    eval_mode,
    log_weights,
    monitor_elbo,
    param_scope,
    sample,
)
from inference.evaluation.log_weights import importance_terms
from inference.pairs.run import importance_traces


@pytest.fixture
def x():
    return (torch.rand(N, SMALL["data_dim"], dtype=torch.float64) > 0.5).double()


def by_hand(pair, x, z):
    """log q(y | x), log p(x | z_y), log p(z_y | y) - log q(z_y | x, y) and its mean, each (n, C), one y at a time."""
    log_q, columns = pair.classifier(x).log_softmax(-1), []
    for y in range(C):
        one_hot = torch.eye(C, dtype=x.dtype)[y].expand(len(x), C)
        p, q = pair.prior(one_hot), pair.encoder(x, one_hot)
        kl = kl_divergence(q.base_dist, p.base_dist).sum(-1)
        columns.append((pair.decoder(z[y]).log_prob(x), p.log_prob(z[y]) - q.log_prob(z[y]), -kl))
    return log_q, *(torch.stack(terms, 1) for terms in zip(*columns, strict=True))


def test_gmvae_enumeration_is_the_sum_over_components(x):
    pair = small(GMVAE)
    z = drawn_z(pair, x)
    log_q, likelihood, sampled, closed = by_hand(pair, x, z)
    q, log_p = log_q.exp(), -math.log(C)
    for objective, of_z in (("enum", sampled), ("enum_analytic", closed)):
        elbo = (q * (likelihood + of_z + log_p - log_q)).sum()
        close(loss(svi(pair, x, objective=objective)), -elbo)
    with eval_mode(pair, seed=None):
        torch.manual_seed(2)  # as `drawn_z`
        found = importance_terms(pair, x)
    close(found["elbo"][0], (q * (likelihood + sampled + log_p - log_q)).sum(1))
    close(found["weight"][0], (likelihood + sampled + log_p).logsumexp(1))
    close(found["likelihood"][0], (q * likelihood).sum(1))


def test_gmvae_pays_the_kl_of_the_component_to_the_uniform(x):
    """The bound is that without any term of y, plus H(q(y | x)) - ln C = -KL(q(y | x) || uniform)."""
    pair = small(GMVAE)
    q = dist.OneHotCategorical(logits=pair.classifier(x))
    kl = kl_divergence(q, dist.OneHotCategorical(logits=torch.zeros(N, C, dtype=x.dtype)))
    close(q.entropy() - math.log(C), -kl)
    log_q, likelihood, sampled, _ = by_hand(pair, x, drawn_z(pair, x))
    with eval_mode(pair, seed=None):
        torch.manual_seed(2)  # as `drawn_z`
        close(importance_terms(pair, x)["elbo"][0], (log_q.exp() * (likelihood + sampled)).sum(1) - kl)


def test_closed_kl_under_enumeration_estimates_the_same_with_less_noise(x):
    pair = small(GMVAE)
    fits = {name: svi(pair, x, objective=name) for name in ("enum", "enum_analytic")}
    found = {name: torch.stack([loss(fit, seed).detach() for seed in range(60)]) for name, fit in fits.items()}
    a, b = found.values()
    assert abs(a.mean() - b.mean()) < 4 * ((a.var() + b.var()) / 60).sqrt()
    assert b.std() < a.std()


def test_relaxed_has_the_weights_of_its_parent_and_is_judged_as_its_parent(x):
    pair, relaxed = small(GMVAE), small(Relaxed, temperature=0.3)
    pair.load_state_dict(relaxed.state_dict())
    assert pair.state_dict().keys() == relaxed.state_dict().keys()
    exact, fit = svi(pair, x, objective="enum"), svi(relaxed, x)
    assert monitor_elbo(relaxed, x) == monitor_elbo(pair, x)
    with eval_mode(pair):
        expected = log_weights(pair, x, k=5)
    with eval_mode(relaxed):
        assert torch.equal(log_weights(relaxed, x, k=5), expected)
    assert torch.equal(sample(relaxed, x, 7)["y"].sum(1), torch.ones(7, dtype=x.dtype))
    assert exact.is_bound
    assert not fit.is_bound
    assert relaxed.training
    torch.manual_seed(2)
    with param_scope():
        _, guide = importance_traces(relaxed, (x,))
    y = guide.nodes["y"]["value"].exp()
    assert y.shape == (N, C)
    assert ((y > 0) & (y < 1)).all()


def test_relaxed_loss_is_the_bound_of_the_relaxed_model(x):
    pair = small(Relaxed)
    value = loss(svi(pair, x))
    torch.manual_seed(2)
    with param_scope():
        log_y = importance_traces(pair, (x,))[1].nodes["y"]["value"]
        z = poutine.trace(poutine.condition(pair.guide, {"y": log_y})).get_trace(x)  # the encoder at the same y
    y = log_y.exp()
    encoder, prior = z.nodes["z"]["fn"], pair.prior(y)
    torch.manual_seed(2)
    with param_scope():
        code = importance_traces(pair, (x,))[1].nodes["z"]["value"]
    q = dist.RelaxedOneHotCategorical(pair.temperature, logits=pair.classifier(x))
    p = dist.RelaxedOneHotCategorical(pair.temperature, logits=torch.zeros(N, C, dtype=x.dtype))
    of_z = prior.log_prob(code) - encoder.log_prob(code)
    close(value, -(pair.decoder(code).log_prob(x) + of_z + p.log_prob(y) - q.log_prob(y)).sum())


def test_straight_through_has_the_value_of_one_hot_and_the_gradient_of_the_relaxed():
    y = torch.tensor([[0.2, 0.5, 0.3], [0.9, 0.05, 0.05]], dtype=torch.float64, requires_grad=True)
    hard, weights = small(StraightThrough).decoded(y), torch.randn(2, 3, dtype=torch.float64)
    assert torch.equal(hard.detach(), torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64))
    assert torch.equal(torch.autograd.grad((weights * hard).sum(), y)[0], weights)


def test_the_straight_through_loss_estimates_the_bound_of_the_discrete_model(x):
    pair, hard = small(GMVAE), small(StraightThrough)
    hard.load_state_dict(pair.state_dict())
    fits = svi(pair, x, objective="enum"), svi(hard, x)
    a, b = (torch.stack([loss(fit, seed).detach() for seed in range(40)]) for fit in fits)
    assert abs(a.mean() - b.mean()) < 4 * ((a.var() + b.var()) / 40).sqrt()
    assert b.std() > a.std()  # y is drawn
    relaxed = small(CategoricalKL)
    relaxed.load_state_dict(pair.state_dict())
    assert loss(svi(relaxed, x)) != loss(fits[1])


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("far", [10.0, 100.0, 1000.0])
def test_gumbel_softmax_stays_finite_near_the_corners(temperature, far):
    logits = torch.tensor([0.0, -far, -far / 2]).expand(1000, 3).clone().requires_grad_()
    q = GumbelSoftmax(torch.tensor(temperature), logits=logits)
    log_y = q.rsample()
    assert dist.constraints.simplex.check(log_y.exp()).all()
    log_prob = q.log_prob(log_y)
    assert log_prob.isfinite().all()
    assert torch.autograd.grad(log_prob.sum() + log_y.exp().square().sum(), logits)[0].isfinite().all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature must be positive"):
        Relaxed(temperature=temperature)


@pytest.mark.filterwarnings("ignore:Encountered")
def test_what_is_not_finite_is_named_though_it_is_there_in_training_only(x):
    pair = small(SSVAE)
    pair.alpha = math.inf
    with pytest.raises(InferenceError, match="log-density of site classification is the first"):
        svi(pair, x, torch.zeros(N, dtype=torch.long), "enum").train_step()


@pytest.mark.parametrize("model", ["gmvae:relaxed", "ss_vae"])
def test_runs_are_judged_by_the_model_and_not_by_what_is_relaxed(model, tmp_path, monkeypatch):
    monkeypatch.setattr("gallery.figures.draw", lambda *_, **__: [])
    name = "digits:threshold:100-labels" if model == "ss_vae" else "digits:threshold"
    run = runs.Run.of(model, None, name, {"hidden": [16], "latent_dim": 2}, {"epochs": 1}, validation=True)
    metrics = runs.start(run, tmp_path / "run")
    assert metrics["is_bound"]
    assert ("classifier_accuracy" in metrics["test"]) == (model == "ss_vae")
    is_bound = "true" if model != "gmvae:relaxed" else "false"
    assert f'"loss_is_bound": {is_bound}' in (tmp_path / "run" / "history.jsonl").read_text()


@pytest.mark.parametrize("cls", [Relaxed, CategoricalKL, StraightThrough])
def test_a_sure_guide_has_finite_gradients_of_the_relaxed_component(cls, x):
    pair = small(cls)
    with torch.no_grad():
        pair.classifier[-1].weight.mul_(1e4)  # as after long training
    fit = svi(pair, x)
    for _ in range(20):
        found = fit.loss.gradients(*fit.loss.step_arguments(fit.rows(0)))
        gradients = found[2:]
        assert len(gradients) == len(fit.parameters) > 0
        assert all(g is not None and g.isfinite().all() for g in gradients)
        assert any(g.any() for g in gradients)
