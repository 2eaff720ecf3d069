"""Objectives: identities, what they refuse, and their gradients in expectation.

Bars are 4 standard errors of the same draws, which one comparison in 16,000 exceeds by chance, unless a bound is named.
"""

import math
from itertools import product

import pyro.distributions as dist
import pytest
import torch
from cases import arguments, build
from known import Below, Chain, Score, Upwards, close, factor_analysis, within
from pyro import poutine
from pyro.infer import RenyiELBO, ReweightedWakeSleep
from torch.distributions import kl_divergence

from gallery.models.exponential_gaussian import PerDatum
from inference import SVI, InferenceError, Settings, iwae, param_scope
from inference.fit.gradients import gradient_moments, gradient_noise
from inference.fit.graph import traced
from inference.fit.objectives import OBJECTIVES, check_objective, objective, parse_objective, renyi
from inference.pairs.handlers import ScaleKL, SetRows, WeightRows
from inference.pairs.info import inspect_pair
from inference.pairs.sites import latent_sites

WEIGHTED = ["iwae:5", "dreg:5", "renyi:0.5:5", "renyi:2:5", "wake-sleep:5"]


def fitting(pair, name, x, given=None, **settings):
    """An SVI of that objective."""
    svi = SVI(pair, x, given, Settings(**settings))
    svi.objective = objective(name, 1, inspect_pair(pair, svi._arguments(torch.arange(len(x))[:2])).has_global_latent)
    return svi


def loss_and_gradient(svi, rows=None, seed=1, weights=None):
    """(loss in nats, gradient of all weights in one row) for one stream of noise."""
    torch.manual_seed(seed)
    loss = svi.loss(torch.arange(len(svi.x)) if rows is None else rows)
    options = {"allow_unused": True, "materialize_grads": True}
    gradients = torch.autograd.grad(loss, svi.parameters if weights is None else weights, **options)
    return loss.detach(), torch.cat([g.flatten() for g in gradients])


# Objectives: identities


@pytest.mark.parametrize("name", ["iwae:1", "dreg:1", "renyi:0.3:1", "graph"])
def test_one_draw_is_the_elbo(name):
    pair, x = factor_analysis(1.3), torch.randn(7, 3, dtype=torch.float64)
    expected, of_trace = loss_and_gradient(fitting(pair, "trace", x))
    loss, gradient = loss_and_gradient(fitting(pair, name, x))
    close(loss, expected)
    if name != "dreg:1":
        close(gradient, of_trace)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("model", ["factor_analysis", "linear_regression"])
def test_bounds_of_k_draws_are_pyros_renyi_elbo(model, alpha):
    """Per datum where all is local, joint where a latent is global, as Pyro's own is."""
    pair, args = build(model).double(), arguments(model, torch.float64)
    svi = fitting(pair, f"renyi:{alpha}:5", *args)
    loss, gradient = loss_and_gradient(svi)
    torch.manual_seed(1)
    with param_scope():
        theirs = RenyiELBO(alpha=alpha, num_particles=5, max_plate_nesting=1, vectorize_particles=True)
        expected = theirs.loss_and_grads(pair.model, pair.guide, *args)
    close(loss, torch.tensor(expected, dtype=torch.float64))
    close(gradient, torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in svi.parameters]))
    if alpha == 0:
        close(loss_and_gradient(fitting(pair, "iwae:5", *args))[1], gradient)


def test_wake_sleep_of_one_datum_is_pyros():
    pair, x = factor_analysis(1.3), torch.randn(1, 3, dtype=torch.float64)
    svi = fitting(pair, "wake-sleep:5", x)
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
        loss_and_gradient(fitting(pair, name, *args), weights=[*generative, *pair.parameters()])
        for name in ("iwae:4", "dreg:4", "wake-sleep:4")
    ]
    size = sum(p.numel() for p in generative)
    for loss, gradient in runs[1:]:
        close(loss, runs[0][0])
        close(gradient[:size], runs[0][1][:size])
        assert not torch.allclose(gradient, runs[0][1])


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
    near = loss_and_gradient(fitting(pair, f"renyi:{1 - h}:4", x))[0]
    torch.manual_seed(1)
    with param_scope():  # the same four draws, averaged
        elbo = objective("iwae:1", 4).differentiable_loss(pair.model, pair.guide, x)
    close(near, elbo.detach(), 1e-4)


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize("shares", [False, True])
def test_repeated_rows_keep_their_numbers_scale_and_shares(name, shares):
    """With an exact guide for every datum the weights have no noise, so a minibatch has -N/n sum_i s_i log p(x_i)."""
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


@pytest.mark.parametrize("name", ["iwae:4", "dreg:4", "wake-sleep:4"])
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
    _, gradient = loss_and_gradient(fitting(pair, "dreg:1", x))
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
    runs = [loss_and_gradient(fitting(pair, name, x)) for name in ("trace", "graph", "score")]
    for loss, gradient in runs[1:]:
        close(loss, runs[0][0])
        close(gradient, runs[0][1])


CHAIN = ["score", "graph", "dreg:5", "wake-sleep:5"]  # of a chain of draws, which is slow to trace, one of each kind


@pytest.mark.parametrize(
    ("model", "name"),
    [
        *product(["vae", "linear_regression", "gmvae:relaxed"], ["score", "graph", *WEIGHTED]),
        *product(["vrnn:steps"], CHAIN),
    ],
)
def test_steps_can_be_traced(name, model):
    pair, args = build(model).double(), arguments(model, torch.float64)
    svi = fitting(pair, name, *args, batch_size=12 if model == "linear_regression" else 4)
    rows = svi.rows(0)
    args = svi._lost, rows, svi._beta(), *svi._arguments(rows)
    graph = traced(svi.gradients, args)
    results = []
    for run in (svi.gradients, graph):
        torch.manual_seed(1)
        results.append([value for value in run(*args) if value is not None])
    close(results[1], [value.detach() for value in results[0]])


def test_a_kl_below_a_sum_of_the_model_stays_sampled():
    pair, x = Below().double(), torch.randn(12, 1, dtype=torch.float64)
    (loss, gradient), (other, other_gradient) = (
        loss_and_gradient(fitting(pair, name, x, objective=name)) for name in ("enum", "enum_analytic")
    )
    close(loss, other)
    close(gradient, other_gradient)
    with pytest.raises(InferenceError, match="prior of z depends on y, which the model sums out"):
        SVI(pair, x, settings=Settings(objective="enum", beta=0.5))


class FewLabels(Below):
    """`Below` with labels, few of them, which here say nothing."""

    missing = -1

    def model(self, x, given, total=None):
        super().model(x, total)

    def guide(self, x, given, total=None):
        super().guide(x, total)


def test_few_labels_make_no_stratum_where_the_model_sums_with_one_scale_for_all():
    given = torch.full((100,), -1)
    given[:2] = 0
    svi = SVI(FewLabels(), torch.randn(100, 1), given, Settings(objective="enum", batch_size=20))
    assert len(svi.strata) == 1
    assert torch.isfinite(svi.train_step())


# Objectives: what is refused


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("elbo", "no objective 'elbo': expected one of trace, analytic, .*, wake-sleep:K"),
        ("iwae", "no objective 'iwae'"),
        ("iwae:two", "no objective"),
        ("iwae:5:1", "no objective"),
        ("trace:1", "no objective"),
        ("iwae:0", "at least 1: iwae:0 has 0"),
        ("dreg:-2", "at least 1"),
        ("renyi:1:5", 'is the ELBO. Use objective="trace"'),
        ("renyi:1.0:5", 'is the ELBO. Use objective="trace"'),
        ("renyi:-1:5", "no lower bound"),
        ("renyi:nan:5", "finite"),
        ("renyi:0.5:0", "at least 1"),
        ("free-bits:-1", "finite and not negative"),
        ("free-bits:inf", "finite and not negative"),
        ("free-bits", "no objective"),
    ],
)
def test_bad_names_of_objectives(name, message):
    with pytest.raises(InferenceError, match=message) as error:
        objective(name)
    assert "\n" not in str(error.value)


def test_names_of_objectives():
    for form in OBJECTIVES:
        name = form.replace("K", "3").replace("ALPHA", "0.5").replace("NATS", "0.1")
        assert isinstance(objective(name), parse_objective(name)[0])
    assert objective("wake-sleep").draws == 10
    assert (objective("renyi:0.5:3").alpha, objective("renyi:0.5:3").draws) == (0.5, 3)
    assert objective("iwae:3", particles=4).num_particles == 12


@pytest.mark.parametrize(
    ("model", "name", "message"),
    [
        ("autoencoder", "score", "is a Delta"),
        ("autoencoder", "iwae:5", "is a Delta"),
        ("autoencoder", "free-bits:1", "is a Delta"),
        ("linear_regression:map", "iwae:5", "is a Delta"),
        ("gmvae", "iwae:5", "y is enumerated"),
    ],
)
def test_objectives_that_do_not_apply(model, name, message):
    pair, args = build(model), arguments(model)
    with pytest.raises(InferenceError, match=message):
        check_objective(name, inspect_pair(pair, args))
    with param_scope(), pytest.raises(InferenceError, match=message) as error:
        info = inspect_pair(pair, args)
        objective(name, 1, info.has_global_latent).differentiable_loss(pair.model, pair.guide, *args)
    assert "\n" not in str(error.value)


def with_noise(seed, pair, name, x, **settings):
    """The loss of an objective in nats per data point, its noise drawn from the seed."""
    svi = SVI(pair, x, settings=Settings(objective=name, precision="float64", **settings))
    torch.manual_seed(seed)
    return svi.loss(torch.arange(len(x))) / len(x)


@pytest.mark.parametrize("nats", [0.0, 0.2, 100.0])
@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_free_bits_charge_every_dimension_at_least_so_much(nats, beta):
    pair, (x,) = build("vae").double(), arguments("vae", torch.float64)
    free = with_noise(1, pair, f"free-bits:{nats}", x, beta=beta)
    whole = with_noise(1, pair, "analytic", x, beta=beta)
    torch.manual_seed(1)
    of = pair.encoder(x)
    kl = kl_divergence(of.base_dist, dist.Normal(0, 1)).mean(0)  # (latent_dim,)
    assert kl.min() < 0.2 < kl.max()
    expected = whole + beta * (kl.clamp(min=nats) - kl).sum()
    close(free, expected)
    gradients = (torch.autograd.grad(loss, list(pair.parameters()), retain_graph=True) for loss in (free, expected))
    for a, b in zip(*gradients, strict=True):
        close(a, b)


def test_free_bits_of_a_global_latent_are_of_all_data_together():
    pair, args = (
        build("linear_regression:mean_field").double(),
        arguments("linear_regression:mean_field", torch.float64),
    )
    losses = []
    for name in ("free-bits:50", "analytic"):
        svi = SVI(pair, *args, settings=Settings(objective=name, precision="float64", batch_size=len(args[0])))
        torch.manual_seed(1)
        losses.append(svi.loss(torch.arange(len(args[0]))))
    q, p = (poutine.trace(run).get_trace(*args) for run in (pair.guide, pair.model))
    ((name, site),) = latent_sites(q).items()
    close(losses[0] - losses[1], 50 - kl_divergence(site["fn"], p.nodes[name]["fn"]))


def test_free_bits_of_a_guide_that_couples_dimensions_are_of_all_together():
    pair, (x,) = build("factor_analysis").double(), arguments("factor_analysis", torch.float64)
    q, p = (poutine.trace(run).get_trace(x).nodes["z"]["fn"] for run in (pair.guide, pair.model))
    kl = kl_divergence(q, p).mean()
    close(with_noise(1, pair, "free-bits:50", x) - with_noise(1, pair, "analytic", x), 50 - kl)


def test_objectives_refuse_draws_that_they_cannot_change():
    for model, name, message in [
        ("vrnn", "score", "computes the draw of z itself"),
        ("vrnn", "dreg:5", "computes the draw of z itself"),
        ("vrnn", "wake-sleep:5", "computes the draw of z itself"),
    ]:
        with param_scope(), pytest.raises(InferenceError, match=message) as error:
            objective(name).differentiable_loss(build(model).model, build(model).guide, *arguments(model))
        assert "\n" not in str(error.value)
    with pytest.raises(InferenceError, match="y is enumerated"):  # by the model alone
        check_objective("wake-sleep:5", inspect_pair(build("gaussian_mixture"), arguments("gaussian_mixture")))
    score = Score()
    for name in ("iwae:5", "dreg:5", "renyi:0.5:5"):
        with pytest.raises(InferenceError, match="z are not reparametrised"):
            check_objective(name, inspect_pair(score, (torch.randn(4, 1),)))
    with pytest.raises(InferenceError, match=r"y is discrete .*Set warmup"):
        check_objective("free-bits:1", inspect_pair(build("gmvae"), arguments("gmvae")))
    check_objective("wake-sleep:5", inspect_pair(score, (torch.randn(4, 1),)))


def test_weights_of_a_global_latent_are_of_all_data():
    pair, args = build("linear_regression"), arguments("linear_regression")
    with param_scope(), pytest.raises(InferenceError, match="a minibatch of 12 has none"):
        objective("iwae:5", 1, True).differentiable_loss(pair.model, pair.guide, *args, total=24)
    with param_scope(), pytest.raises(InferenceError, match="a latent is global"):
        objective("iwae:5").differentiable_loss(pair.model, pair.guide, *args)


# Objectives: gradients in expectation


@pytest.mark.parametrize("name", ["trace", "score", "iwae:5", "renyi:0.5:5", "wake-sleep:5", "dreg:5"])
def test_the_guides_gradient_at_the_exact_posterior_averages_to_zero_in_minibatches(name):
    pair, x = factor_analysis(), torch.randn(40, 3, dtype=torch.float64)
    svi = fitting(pair, name, x, batch_size=10)
    gradients = torch.stack(
        [loss_and_gradient(svi, svi.rows(i), seed=i, weights=[*pair.phi.values()])[1] for i in range(300)]
    )
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


@pytest.mark.parametrize(
    ("case", "name", "other", "always", "beta"),
    [
        (wide_factor_analysis, "trace", "score", True, 1.0),
        (wide_factor_analysis, "dreg:8", "iwae:8", True, 1.0),
        (wide_factor_analysis, "dreg:8", "iwae:8", False, 0.3),
        (log_normal, "trace", "score", True, 1.0),
        (log_normal, "dreg:8", "iwae:8", False, 1.0),  # no theorem: a guide far off has the noisier dreg
    ],
)
def test_two_estimators_of_one_gradient_and_which_is_less_noisy(case, name, other, always, beta):
    (pair, x), blocks, repeats = case(), 8, 50
    ids = {id(p) for p in inspect_pair(pair, (x[:2],)).inference_parameters.values()}
    found = []
    for svi in (fitting(pair, n, x, batch_size=20, beta=beta) for n in (name, other)):
        mean, variance = zip(*(gradient_moments(svi, svi.rows(0), repeats) for _ in range(blocks)), strict=True)
        of_guide = torch.cat([torch.full((p.numel(),), id(p) in ids) for p in svi.parameters])
        found.append((torch.stack(mean).mean(0), torch.stack(variance), torch.stack(variance)[:, of_guide].sum(1)))
    (mean, variance, quiet), (other_mean, other_variance, loud) = found
    within(mean - other_mean, (variance + other_variance).mean(0) / (blocks * repeats))
    assert not always or loud.mean() - quiet.mean() > 4 * math.sqrt((loud.var() + quiet.var()) / blocks)


def test_running_moments_and_the_groups_of_weights():
    pair, x = factor_analysis(1.5), torch.randn(12, 3, dtype=torch.float64)
    svi = fitting(pair, "trace", x, batch_size=4)
    torch.manual_seed(0)
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
    with pytest.raises(InferenceError, match="from 2 minibatches"):
        gradient_noise(svi, minibatches=1)


def test_elbo_iwae_evidence_in_this_order():
    pair, x = factor_analysis(1.5), torch.randn(100, 3, dtype=torch.float64)
    exact = pair.log_evidence(x).mean()
    bounds = []
    for name in ("trace", "iwae:8"):
        svi = fitting(pair, name, x)
        bounds.append(-torch.stack([svi.loss(torch.arange(100)).detach() for _ in range(60)]) / 100)
    low, high = bounds
    error = [b.std() / math.sqrt(len(b)) for b in bounds]
    assert high.mean() < exact + 4 * error[1]
    assert low.mean() < high.mean() - 4 * (error[0] + error[1])  # and strictly, for this guide


@pytest.mark.parametrize("name", ["analytic", "free-bits:0.1"])
def test_a_closed_kl_needs_the_order_of_the_model(name):
    SVI(Chain(), torch.zeros(3, 1), settings=Settings(objective=name))
    with pytest.raises(InferenceError, match="draws z_2, z_1 in this order, and the model in another"):
        SVI(Upwards(), torch.zeros(3, 1), settings=Settings(objective=name))
