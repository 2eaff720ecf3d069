"""Identities of estimators, for one stream of noise."""

import math
from itertools import product

import pyro.distributions as dist
import pytest
import torch
from cases import arguments, build
from fits import fit_with, loss_and_gradient
from known import Chain, Score, close, factor_analysis
from pyro.infer import RenyiELBO, ReweightedWakeSleep

from gallery.models.exponential_gaussian import PerDatum
from inference import InferenceError, iwae, param_scope
from inference.fit.graph import traced
from inference.fit.objectives import objective, renyi
from inference.pairs.handlers import ScaleKL, SetRows, WeightRows

WEIGHTED = ["iwae:5", "dreg:5", "renyi:0.5:5", "renyi:2:5", "wake-sleep:5"]
FURTHER = ["stl", "loo:3", "vimco:3", "miwae:2:3", "ciwae:0.3:3", "piwae:2:3"]


@pytest.mark.parametrize("name", ["iwae:1", "dreg:1", "renyi:0.3:1", "graph"])
def test_one_draw_is_the_elbo(name):
    pair, x = factor_analysis(1.3), torch.randn(7, 3, dtype=torch.float64)
    expected, of_trace = loss_and_gradient(fit_with(pair, "trace", x))
    loss, gradient = loss_and_gradient(fit_with(pair, name, x))
    close(loss, expected)
    if name != "dreg:1":
        close(gradient, of_trace)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("model", ["factor_analysis", "linear_regression"])
def test_bounds_of_k_draws_are_pyros_renyi_elbo(model, alpha):
    """Per data point where all latents are local, joint where a latent is global, as Pyro's bound is."""
    pair, args = build(model).double(), arguments(model, torch.float64)
    svi = fit_with(pair, f"renyi:{alpha}:5", *args)
    loss, gradient = loss_and_gradient(svi)
    torch.manual_seed(1)
    with param_scope():
        theirs = RenyiELBO(alpha=alpha, num_particles=5, max_plate_nesting=1, vectorize_particles=True)
        expected = theirs.loss_and_grads(pair.model, pair.guide, *args)
    close(loss, torch.tensor(expected, dtype=torch.float64))
    close(gradient, torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in svi.parameters]))
    if alpha == 0:
        close(loss_and_gradient(fit_with(pair, "iwae:5", *args))[1], gradient)


def test_wake_sleep_of_one_data_point_is_pyros():
    pair, x = factor_analysis(1.3), torch.randn(1, 3, dtype=torch.float64)
    svi = fit_with(pair, "wake-sleep:5", x)
    loss, gradient = loss_and_gradient(svi)
    torch.manual_seed(1)
    with param_scope():
        theirs = ReweightedWakeSleep(5, insomnia=1.0, max_plate_nesting=1, vectorize_particles=True)
        expected, _ = theirs.loss_and_grads(pair.model, pair.guide, x)
    close(loss, torch.tensor(expected, dtype=torch.float64))
    close(gradient, torch.cat([p.grad.flatten() for p in svi.parameters]))


@pytest.mark.parametrize("model", ["factor_analysis", "linear_regression"])
def test_estimators_of_one_bound_have_one_value_and_one_gradient_of_the_model(model):
    pair, args = build(model).double(), arguments(model, torch.float64)
    generative = [*pair.theta.values()] if model == "factor_analysis" else []
    runs = [
        loss_and_gradient(fit_with(pair, name, *args), weights=[*generative, *pair.parameters()])
        for name in ("iwae:4", "dreg:4", "wake-sleep:4")
    ]
    size = sum(p.numel() for p in generative)
    for loss, gradient in runs[1:]:
        close(loss, runs[0][0])
        close(gradient[:size], runs[0][1][:size])
        assert not torch.allclose(gradient, runs[0][1])


@pytest.mark.parametrize(
    ("name", "other", "particles"),
    [
        ("miwae:1:4", "iwae:4", 1),
        ("miwae:3:4", "iwae:4", 3),
        ("miwae:3:1", "iwae:1", 3),
        ("ciwae:0:4", "iwae:4", 1),
        ("ciwae:1:4", "iwae:1", 4),
        ("piwae:1:4", "iwae:4", 1),
    ],
)
@pytest.mark.parametrize("model", ["factor_analysis", "linear_regression"])
def test_means_and_mixtures_of_bounds_at_their_ends(model, name, other, particles):
    pair, args = build(model).double(), arguments(model, torch.float64)
    svi = fit_with(pair, name, *args)
    loss, gradient = loss_and_gradient(svi)
    svi.loss.estimator = objective(other, particles, svi.plan.has_global_latent)
    expected, of_other = loss_and_gradient(svi)
    close(loss, expected)
    close(gradient, of_other)


def test_a_mixture_of_bounds_is_linear_in_its_share():
    pair, x = factor_analysis(1.3), torch.randn(7, 3, dtype=torch.float64)
    (one, of_one), (none, of_none), (part, of_part) = (
        loss_and_gradient(fit_with(pair, f"ciwae:{share}:4", x)) for share in (1, 0, 0.25)
    )
    close(part, 0.25 * one + 0.75 * none)
    close(of_part, 0.25 * of_one + 0.75 * of_none)


@pytest.mark.parametrize("name", ["factor_analysis", "chain"])
def test_piwae_takes_the_model_from_one_bound_and_the_guide_from_another(name):
    pair = factor_analysis(1.3) if name == "factor_analysis" else Chain().double()
    x = torch.randn(7, 3 if name == "factor_analysis" else 1, dtype=torch.float64)
    guide, model = (
        ([*pair.phi.values()], [*pair.theta.values()]) if name == "factor_analysis" else ([*pair.q.values()], [])
    )
    sizes = [sum(p.numel() for p in part) for part in (model, guide)]
    (loss, mixed), (of_model, together), (_, apart) = (
        loss_and_gradient(fit_with(pair, of, x), weights=[*model, *guide])
        for of in ("piwae:3:4", "iwae:12", "miwae:3:4")
    )
    close(loss, of_model)
    close(mixed, torch.cat([together.split(sizes)[0], apart.split(sizes)[1]]))
    assert not torch.allclose(mixed.split(sizes)[1], together.split(sizes)[1])


def test_renyi_goes_from_iwae_to_the_elbo():
    """By Hoeffding's lemma the bound of order 1 - h lies above the mean by h range^2 / 8 at most."""
    log_w, h = 2 * torch.randn(8, 50, dtype=torch.float64), 1e-6
    close(renyi(log_w, 0.0), iwae(log_w))
    close(renyi(log_w, 1.0), log_w.mean(0))
    above = renyi(log_w, 1 - h) - log_w.mean(0)
    rounding = 1e-9  # of a logarithm near 0, divided by h
    assert (above > -rounding).all()
    assert (above < h * (log_w.max(0).values - log_w.min(0).values).square() / 8 + rounding).all()
    falling = torch.stack([renyi(log_w, alpha) for alpha in (0.0, 0.5, 1.0, 2.0)])
    assert (falling.diff(dim=0) < 0).all()
    pair, x = factor_analysis(1.3), torch.randn(7, 3, dtype=torch.float64)
    near = loss_and_gradient(fit_with(pair, f"renyi:{1 - h}:4", x))[0]
    torch.manual_seed(1)
    with param_scope():  # the same four draws, averaged
        elbo = objective("iwae:1", 4).differentiable_loss(pair.model, pair.guide, x)
    close(near, elbo.detach(), 1e-4)


@pytest.mark.parametrize("name", WEIGHTED + FURTHER)
@pytest.mark.parametrize("shares", [False, True])
def test_repeated_rows_keep_their_numbers_scale_and_shares(name, shares):
    """With an exact guide for each data point the weights have no noise, so a minibatch has
    -N/n sum_i s_i log p(x_i)."""
    x, rows = torch.randn(20, 1, dtype=torch.float64), torch.tensor([3, 17, 0, 8])
    pair = PerDatum(total=20).double()
    with torch.no_grad():
        pair.eta.weight.copy_(torch.stack([x[:, 0] - 1, torch.full((20,), math.log(math.expm1(1)))], dim=1))
    weight = torch.tensor([0.5, 1.0, 2.0, 0.1], dtype=torch.float64) if shares else torch.ones(4, dtype=torch.float64)
    estimator = objective(name, 3)
    with param_scope(), SetRows(rows), WeightRows(weight):
        loss = estimator.differentiable_loss(pair.model, pair.guide, x[rows], total=20)
    close(loss.detach(), -(20 / 4 * weight * pair.log_evidence(x[rows])).sum())
    (gradient,) = torch.autograd.grad(loss, pair.eta.weight)
    assert not gradient[[i for i in range(20) if i not in rows]].any()
    with param_scope(), pytest.raises(InferenceError, match="less than the 4 rows"), SetRows(rows):
        estimator.differentiable_loss(pair.model, pair.guide, x[rows], total=3)


@pytest.mark.parametrize(
    "name", ["iwae:4", "dreg:4", "wake-sleep:4", "vimco:4", "miwae:1:4", "ciwae:0:4", "piwae:1:4", "piwae:4:1"]
)
def test_beta_weighs_the_kl_in_the_weights(name):
    pair, x = factor_analysis(1.3), torch.randn(7, 3, dtype=torch.float64)
    torch.manual_seed(1)
    with param_scope(), ScaleKL(torch.tensor(0.0)):
        loss = objective(name).differentiable_loss(pair.model, pair.guide, x)
    torch.manual_seed(1)
    z = pair.phi["V"] @ x.T + pair.scale_tril() @ torch.randn(28, 2, dtype=torch.float64).view(4, 7, 2).mT
    likelihood = dist.Normal(z.mT @ pair.theta["W"].T, pair.sigma).to_event(1).log_prob(x)
    close(loss, -iwae(likelihood).sum())


def test_doubly_reparametrised_gradient_follows_a_chain_of_draws():
    """At K = 1 it is the derivative of log w through the draws alone, with the guide's parameters in log q held."""
    pair, x = Chain().double(), torch.randn(6, 1, dtype=torch.float64)
    _, gradient = loss_and_gradient(fit_with(pair, "dreg:1", x))
    torch.manual_seed(1)
    noise = [torch.normal(torch.zeros(6, dtype=torch.float64), 1.0) for _ in range(2)]
    a, b, y = pair.q["a"], pair.q["b"], x[:, 0]
    z1 = a * y + 0.8 * noise[0]
    z2 = z1 + b * y + 0.7 * noise[1]
    log_p = dist.Normal(0, 1).log_prob(z1) + dist.Normal(z1, 1).log_prob(z2) + dist.Normal(z2, 1).log_prob(y)
    held = a.detach() * y, z1 + b.detach() * y
    log_q = dist.Normal(held[0], 0.8).log_prob(z1) + dist.Normal(held[1], 0.7).log_prob(z2)
    close(gradient, torch.stack(torch.autograd.grad(-(log_p - log_q).sum(), [a, b])))


def test_graph_and_score_on_draws_that_are_not_reparametrised():
    x = torch.randn(12, 1, dtype=torch.float64)
    pair = Score().double()
    runs = [loss_and_gradient(fit_with(pair, name, x)) for name in ("trace", "graph", "reinforce")]
    for loss, gradient in runs[1:]:
        close(loss, runs[0][0])
        close(gradient, runs[0][1])


SAMPLED = ["loo:2", "vimco:2"]  # y, which other fits sum out
CHAIN = [
    "reinforce",
    "graph",
    "dreg:5",
    "wake-sleep:5",
]  # for a chain of draws, which is slow to trace


@pytest.mark.parametrize(
    ("model", "name"),
    [
        *product(["vae", "linear_regression", "gmvae:relaxed"], ["reinforce", "graph", *WEIGHTED]),
        *product(["linear_regression"], FURTHER),
        *(pytest.param(*case, marks=pytest.mark.integration) for case in product(["gmvae", "ss_vae"], SAMPLED)),
        *(pytest.param("vrnn:steps", name, marks=pytest.mark.integration) for name in CHAIN),
    ],
)
def test_steps_can_be_traced(name, model):
    pair, args = build(model).double(), arguments(model, torch.float64)
    svi = fit_with(pair, name, *args, batch_size=12 if model == "linear_regression" else 4, objective=name)
    rows = svi.rows(0)
    args = svi.loss.step_arguments(rows)
    graph = traced(svi.loss.gradients, args)
    results = []
    for run in (svi.loss.gradients, graph):
        torch.manual_seed(1)
        results.append([value for value in run(*args) if value is not None])
    close(results[1], [value.detach() for value in results[0]])


# Objectives: gradients in expectation
