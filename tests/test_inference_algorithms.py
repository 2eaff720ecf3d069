"""Objectives, annealing, gaps, diagnostics and samplers: identities, theorems, and models whose answers are known.

Bars are 4 standard errors of the same draws, which one comparison in 16,000 exceeds by chance, unless a bound is named.
"""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import arguments, build
from pyro import poutine
from pyro.infer import RenyiELBO, ReweightedWakeSleep
from test_compiled import Score
from torch import nn
from torch.distributions import kl_divergence

import data
from gallery.models.exponential_gaussian import ExponentialGaussian, PerDatum
from gallery.models.factor_analysis import DiagonalGuide, FactorAnalysis
from gallery.models.gaussian_mixture import GaussianMixture
from gallery.models.linear_regression import LinearRegression
from gallery.models.vae import VAE
from inference import SVI, InferenceError, Settings, iwae, judging, log_weights, own_store, sample
from inference.annealed import ais, gradients, reverse_ais, sandwich, upper
from inference.compiled import UntraceableError, traced
from inference.diagnostics import (
    calibration_ranks,
    gradient_moments,
    gradient_noise,
    pareto_k,
    predictive_check,
    tails,
    uniformity,
)
from inference.gap import gap
from inference.mcmc import nuts
from inference.objectives import OBJECTIVES, check_objective, objective, parse_objective, renyi
from inference.pairs import Rows, Shares, Weigh, latent_sites, log_joint, look, parameters

WEIGHTED = ["iwae:5", "dreg:5", "renyi:0.5:5", "renyi:2:5", "wake-sleep:5"]


def close(a, b, tolerance=1e-9):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def within(difference, variance):
    """Is a mean zero within 4 standard errors, at every coordinate that varies?"""
    live = variance > 0
    assert live.any()
    assert (difference[live].abs() < 4 * variance[live].sqrt()).all()


def factor_analysis(widen=1.0, cls=FactorAnalysis):
    """A factor analysis in float64, W and sigma of order 1, whose guide has the exact mean and, if it can, the
    posterior's covariance times widen^2."""
    pair = cls().double()
    with torch.no_grad():
        pair.theta["W"].copy_(torch.tensor([[1.0, 0.5], [1.0, 1.0], [-0.5, 1.0]]))
        pair.theta["pre_sigma"].fill_(math.log(math.expm1(1)))
        posterior = pair.posterior(torch.eye(3, dtype=torch.float64))
        pair.phi["V"].copy_(posterior.mean.T)
        if "L" in pair.phi:
            pair.phi["L"].copy_(widen * torch.linalg.cholesky(posterior.covariance_matrix[0]))
    return pair


def simulated(n, cls=FactorAnalysis):
    """A factor analysis, n of its data, and the factors they were made of: a draw of each one's posterior."""
    pair = factor_analysis(cls=cls)
    drawn = sample(pair, torch.zeros(1, 3, dtype=torch.float64), n, seed=None)
    return pair, drawn["x"], {"z": drawn["z"]}


def fitting(pair, name, x, given=None, **settings):
    """An SVI of that objective."""
    svi = SVI(pair, x, given, Settings(**settings))
    svi.objective = objective(name, 1, look(pair, svi._arguments(torch.arange(len(x))[:2])).joint)
    return svi


def loss_and_gradient(svi, rows=None, seed=1, weights=None):
    """(loss in nats, gradient of all weights in one row) for one stream of noise."""
    torch.manual_seed(seed)
    loss = svi.loss(torch.arange(len(svi.x)) if rows is None else rows)
    options = {"allow_unused": True, "materialize_grads": True}
    gradients = torch.autograd.grad(loss, svi.parameters if weights is None else weights, **options)
    return loss.detach(), torch.cat([g.flatten() for g in gradients])


class Chain(nn.Module):
    """z_1 ~ N(0, 1), z_2 ~ N(z_1, 1), x ~ N(z_2, 1): log p(x) = log N(x; 0, 3). The guide's z_2 depends on its z_1."""

    def __init__(self):
        super().__init__()
        self.q = nn.ParameterDict({"a": torch.tensor(0.3), "b": torch.tensor(0.6)})

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z_1", dist.Normal(x.new_zeros(len(x)), 1.0))
            z = pyro.sample("z_2", dist.Normal(z, 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module("q", self.q)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z_1", dist.Normal(self.q["a"] * x[:, 0], 0.8))
            pyro.sample("z_2", dist.Normal(z + self.q["b"] * x[:, 0], 0.7))

    def log_evidence(self, x):
        return dist.Normal(0.0, math.sqrt(3.0)).log_prob(x[:, 0])


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
    with own_store():
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
    with own_store():
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
    with own_store():  # the same four draws, averaged
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
    with own_store(), Rows(rows), Shares(weight):
        loss = estimator.differentiable_loss(pair.model, pair.guide, x[rows], total=20)
    close(loss.detach(), -(20 / 4 * weight * pair.log_evidence(x[rows])).sum())
    (gradient,) = torch.autograd.grad(loss, pair.eta.weight)
    assert not gradient[[i for i in range(20) if i not in rows]].any()
    with own_store(), pytest.raises(InferenceError, match="less than the 4 rows"), Rows(rows):
        estimator.differentiable_loss(pair.model, pair.guide, x[rows], total=3)


@pytest.mark.parametrize("name", ["iwae:4", "dreg:4", "wake-sleep:4"])
def test_beta_weighs_the_kl_in_the_weights(name):
    pair, x = factor_analysis(1.3), torch.randn(7, 3, dtype=torch.float64)
    torch.manual_seed(1)
    with own_store(), Weigh(torch.tensor(0.0)):
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


@pytest.mark.parametrize("name", ["score", "graph", *WEIGHTED])
@pytest.mark.parametrize("model", ["vae", "linear_regression", "vrnn:steps", "gmvae:relaxed"])
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


# Objectives: what is refused


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("elbo", "no objective 'elbo': it is one of trace, analytic, .*, wake-sleep:K"),
        ("iwae", "no objective 'iwae'"),
        ("iwae:two", "no objective"),
        ("iwae:5:1", "no objective"),
        ("trace:1", "no objective"),
        ("iwae:0", "at least 1: iwae:0 has 0"),
        ("dreg:-2", "at least 1"),
        ("renyi:1:5", "is the ELBO: use trace"),
        ("renyi:1.0:5", "is the ELBO: use trace"),
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
        ("autoencoder", "score", "is a point"),
        ("autoencoder", "iwae:5", "is a point"),
        ("autoencoder", "free-bits:1", "is a point"),
        ("linear_regression:map", "iwae:5", "is a point"),
        ("gmvae", "iwae:5", "y is to be summed out"),
    ],
)
def test_objectives_that_do_not_apply(model, name, message):
    pair, args = build(model), arguments(model)
    with pytest.raises(InferenceError, match=message):
        check_objective(name, look(pair, args))
    with own_store(), pytest.raises(InferenceError, match=message) as error:
        objective(name, 1, look(pair, args).joint).differentiable_loss(pair.model, pair.guide, *args)
    assert "\n" not in str(error.value)


def with_noise(seed, pair, name, x, **settings):
    """The loss of an objective in nats per datum, its noise drawn from the seed."""
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
        ("vrnn", "score", "draws z itself"),
        ("vrnn", "dreg:5", "draws z itself"),
        ("vrnn", "wake-sleep:5", "draws z itself"),
    ]:
        with own_store(), pytest.raises(InferenceError, match=message) as error:
            objective(name).differentiable_loss(build(model).model, build(model).guide, *arguments(model))
        assert "\n" not in str(error.value)
    with pytest.raises(InferenceError, match="y is to be summed out"):  # by the model alone
        check_objective("wake-sleep:5", look(build("gaussian_mixture"), arguments("gaussian_mixture")))
    score = Score()
    for name in ("iwae:5", "dreg:5", "renyi:0.5:5"):
        with pytest.raises(InferenceError, match="z are not reparametrised"):
            check_objective(name, look(score, (torch.randn(4, 1),)))
    with pytest.raises(InferenceError, match=r"y is discrete .*--warmup"):
        check_objective("free-bits:1", look(build("gmvae"), arguments("gmvae")))
    check_objective("wake-sleep:5", look(score, (torch.randn(4, 1),)))


def test_weights_of_a_global_latent_are_of_all_data():
    pair, args = build("linear_regression"), arguments("linear_regression")
    with own_store(), pytest.raises(InferenceError, match="a minibatch of 12 has none"):
        objective("iwae:5", 1, True).differentiable_loss(pair.model, pair.guide, *args, total=24)
    with own_store(), pytest.raises(InferenceError, match="a latent is global"):
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
    ("case", "name", "other", "always"),
    [
        (wide_factor_analysis, "trace", "score", True),
        (wide_factor_analysis, "dreg:8", "iwae:8", True),
        (log_normal, "trace", "score", True),
        (log_normal, "dreg:8", "iwae:8", False),  # no theorem: a guide far off has the noisier dreg
    ],
)
def test_two_estimators_of_one_gradient_and_which_is_less_noisy(case, name, other, always):
    (pair, x), blocks, repeats = case(), 8, 50
    ids = {id(p) for p in parameters(look(pair, (x[:2],)))[1].values()}
    found = []
    for svi in (fitting(pair, n, x, batch_size=20) for n in (name, other)):
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


# Evidence from both sides


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


def exponential_gaussian():
    return ExponentialGaussian().double(), torch.tensor([[-1.0], [0.5], [3.0]], dtype=torch.float64)


def chain():
    return Chain().double(), torch.tensor([[-1.0], [0.5], [3.0]], dtype=torch.float64)


@pytest.mark.parametrize("case", [exponential_gaussian, chain, lambda: simulated(3)[:2]])
def test_annealed_weights_are_unbiased_forwards_and_backwards(case):
    """E[w] = p(x) from the prior; E[1 / w] = 1 / p(x) from the exact posterior, at a draw of its own for each chain.
    With so many steps the weights are within a factor of two of each other, mostly: bars from few would be too short.
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


def test_annealing_holds_the_evidence_of_factor_analysis_from_both_sides():
    pair, x, z = simulated(80)
    low = iwae(ais(pair, x, chains=16, steps=300, leapfrog=5))
    high = upper(reverse_ais(pair, x, z, chains=16, steps=300, leapfrog=5))
    with torch.no_grad():
        exact = pair.log_evidence(x)
    for difference in (low - exact, exact - high):
        assert difference.mean() < 4 * difference.std() / math.sqrt(len(x))
    width = high - low
    assert width.mean() + 4 * width.std() / math.sqrt(len(x)) < 0.05


def test_annealing_of_a_vae_and_what_a_sandwich_says():
    pair, like = VAE(data_dim=6, latent_dim=2, hidden=(5,)).double(), torch.zeros(1, 6, dtype=torch.float64)
    found = sandwich(pair, like, 40, chains=8, steps=60, leapfrog=5)
    assert "evidence" not in found
    width = found["upper"]["value"] - found["lower"]["value"]
    assert found["width"]["value"] == pytest.approx(width)
    assert width > -4 * found["width"]["se"]
    assert found["lower"] | {"n": 40, "chains": 8, "steps": 60, "unit": "nats per datum"} == found["lower"]
    known = sandwich(factor_analysis(), torch.zeros(1, 3, dtype=torch.float64), 5, chains=2, steps=5, leapfrog=2)
    assert known["evidence"]["exact"]


def test_annealing_in_parts_is_the_same_law(monkeypatch):
    """Chunks of rows bound the memory; their noise is another, their weights are unbiased as well."""
    monkeypatch.setattr("inference.annealed.ROWS", 2000)
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
        raise UntraceableError

    monkeypatch.setattr("inference.annealed.traced", untraceable)
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
        ("gmvae", "z of GMVAE has a discrete parent"),
        ("autoencoder", "the prior of z in Autoencoder is flat"),
        ("ss_vae", "the model of SSVAE cannot sum out"),
    ],
)
def test_annealing_refuses(model, message):
    with pytest.raises(InferenceError, match=message):
        ais(build(model), *arguments(model))
    with pytest.raises(InferenceError, match="chains must be at least 1"):
        ais(build("vae"), *arguments("vae"), chains=0)
    with pytest.raises(InferenceError, match="draws of z are needed"):
        reverse_ais(build("vae"), *arguments("vae"), {})


def test_the_joint_density_of_all_sites():
    pair, x = Chain().double(), torch.randn(5, 1, dtype=torch.float64)
    z = {"z_1": torch.randn(5, dtype=torch.float64), "z_2": torch.randn(5, dtype=torch.float64)}
    with own_store():
        prior, likelihood = log_joint(pair, (x,), z)
    close(prior, dist.Normal(0, 1).log_prob(z["z_1"]) + dist.Normal(z["z_1"], 1).log_prob(z["z_2"]))
    close(likelihood, dist.Normal(z["z_2"], 1).log_prob(x[:, 0]))


# The gap report


def test_the_gap_of_factor_analysis_is_the_kl_to_the_posterior():
    pair, x = factor_analysis(1.4), torch.randn(40, 3, dtype=torch.float64)
    with torch.no_grad():
        pair.phi["V"].add_(0.1)
        q = dist.MultivariateNormal(x @ pair.phi["V"].T, scale_tril=pair.scale_tril())
        kl = kl_divergence(q, pair.posterior(x))
    report = gap(pair, x, draws=400, steps=500)
    mean, per_datum = report["mean"], report["per_datum"]
    assert abs(mean["gap"]["value"] - kl.mean().item()) < 4 * mean["gap"]["mc_se"]
    assert mean["evidence"]["of"] == "log p(x)"
    assert mean["amortisation_gap"]["value"] > 4 * mean["amortisation_gap"]["mc_se"]
    # the family holds the posterior; 5 parameters that are 1e-3 off, ten of Adam's last steps, at a scale of 1/2 cost
    assert abs(mean["approximation_gap"]["value"]) < 5 / 2 * (1e-3 / 0.5) ** 2
    close(per_datum["gap"], per_datum["approximation_gap"] + per_datum["amortisation_gap"])
    assert abs(gap(factor_analysis(), x, draws=2, steps=1)["mean"]["gap"]["value"]) < 1e-8


def test_a_diagonal_guide_keeps_its_approximation_gap_and_a_full_covariance_closes_it():
    """The best diagonal normal is -log(1 - r^2) / 2 away from a normal of correlation r."""
    pair, x = factor_analysis(cls=DiagonalGuide), torch.randn(40, 3, dtype=torch.float64)
    with torch.no_grad():
        posterior = pair.posterior(x)
        S, sd = posterior.covariance_matrix[0], posterior.stddev[0]
    theory = -0.5 * math.log(1 - (S[0, 1] / sd.prod()).item() ** 2)
    mean = gap(pair, x, draws=400, steps=500)["mean"]
    assert abs(mean["approximation_gap"]["value"] - theory) < 4 * mean["approximation_gap"]["mc_se"]
    assert abs(mean["diagonal_gap"]["value"] - theory) < 4 * mean["diagonal_gap"]["mc_se"]
    assert mean["amortisation_gap"]["value"] > -4 * mean["amortisation_gap"]["mc_se"]


def test_the_gap_where_the_evidence_is_not_known():
    class Silent(ExponentialGaussian):
        log_evidence = None

    pair, x = Silent().double(), torch.randn(30, 1, dtype=torch.float64) + 1
    known = ExponentialGaussian.log_evidence(pair, x).mean().item()
    mean = gap(pair, x, steps=200, chains=8, temperatures=100)["mean"]
    assert mean["evidence"]["of"].startswith("AIS, a lower bound")
    assert mean["evidence"]["value"] < known + 4 * mean["evidence"]["mc_se"]
    assert mean["amortisation_gap"]["value"] > -4 * mean["amortisation_gap"]["mc_se"]
    vae = gap(VAE(data_dim=6, latent_dim=2, hidden=(5,)), *arguments("vae"), steps=50, chains=4, temperatures=20)[
        "mean"
    ]
    assert vae["amortisation_gap"]["value"] > -4 * vae["amortisation_gap"]["mc_se"]
    assert "elbo_full_covariance" in vae


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("linear_regression", r"has w \(global\)"),
        ("gmvae", "has y, z"),
        ("gaussian_mixture", "has none"),
        ("autoencoder", "is a point"),
    ],
)
def test_gaps_that_are_not_defined(model, message):
    with pytest.raises(InferenceError, match=message):
        gap(build(model), *arguments(model))


# Diagnostics


def shape_of_tail(log_w):
    """k-hat of each datum without its pull to 1/2, that of ten more weights in the tail."""
    size = math.ceil(3 * math.sqrt(len(log_w)))
    return (pareto_k(log_w) * (size + 10) - 5) / size


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_pareto_k_of_known_tails(k):
    """w = u^-k has a Pareto tail of shape k."""
    found = shape_of_tail(-k * torch.rand(4000, 200, dtype=torch.float64).log())
    assert abs(found.mean() - k) < 4 * found.std() / math.sqrt(200)


def test_a_weight_beside_which_all_others_vanish_has_the_heaviest_tail():
    torch.manual_seed(0)
    log_w = torch.randn(400, 3)
    log_w[7, 1] += 2000.0
    k = pareto_k(log_w)
    assert k[1] == math.inf
    assert k[[0, 2]].isfinite().all()


def test_pareto_k_is_of_each_datum():
    """A guide whose two coordinates have s times the posterior's scale has w = u^-(1 - s^2) but for a constant: a tail
    of shape 3/4 at s = 1/2, a bound at s = 3/2, nothing at s = 1; for each datum, however many there are."""
    pair, x, found = factor_analysis(), torch.randn(400, 3, dtype=torch.float64), []
    L = pair.phi["L"].detach().clone()
    for widen in (0.5, 1.5, 1.0):
        with torch.no_grad():
            pair.phi["L"].copy_(widen * L)
        with judging(pair):
            found.append(log_weights(pair, x, k=1000))
    narrow, wide = shape_of_tail(found[0]), shape_of_tail(found[1])
    assert abs(narrow.mean() - 0.75) < 4 * narrow.std() / math.sqrt(400)
    assert wide.max() < 0.5
    few, many = wide[:40], wide[40:]
    assert abs(few.mean() - many.mean()) < 4 * math.sqrt(few.var() / 40 + many.var() / 360)
    assert (pareto_k(found[2]) == -math.inf).all()
    with pytest.raises(InferenceError, match="at least 25 draws"):
        pareto_k(torch.zeros(10, 2))


def test_tails_are_the_median_and_the_share_above_and_their_errors():
    pair, medians, errors = factor_analysis(), [], []
    with torch.no_grad():
        pair.phi["L"].mul_(0.5)
    x = torch.randn(4000, 3, dtype=torch.float64)
    for seed, part in enumerate(x.split(100)):
        found = tails(pair, part, draws=100, seed=seed)
        with judging(pair, seed):
            k = pareto_k(log_weights(pair, part, k=100))
        assert found["k_hat"]["value"] == k.median().item()
        assert found["k_hat_above"]["value"] == pytest.approx((k > 0.7).double().mean().item())
        medians.append(found["k_hat"]["value"])
        errors.append(found["k_hat"]["se"])
    ratio = torch.tensor(errors).mean() / torch.tensor(medians).std()
    assert abs(ratio - 1) < 4 / math.sqrt(80)  # the standard error of a standard deviation of 40
    alike = tails(factor_analysis(), x[:50])  # the exact posterior
    assert "value" not in alike["k_hat"]
    assert "all alike" in alike["k_hat"]["undefined"]
    assert alike["k_hat_above"] | {"value": 0.0, "se": 0.0, "n": 50, "particles": 400} == alike["k_hat_above"]


@pytest.mark.parametrize("model", ["linear_regression", "gaussian_mixture", "autoencoder"])
def test_tails_are_of_continuous_latents_of_a_datum(model):
    with pytest.raises(InferenceError, match="draws continuous latents of a datum; that of"):
        tails(build(model), *arguments(model))


def test_a_guide_of_other_data_has_no_tails():
    with pytest.raises(InferenceError, match="parameters of its own for each datum"):
        tails(PerDatum(total=20), torch.zeros(20, 1))


def test_calibration_passes_the_exact_posterior_and_flags_too_narrow_and_too_wide():
    """At a level of 1e-4 for each of two coordinates."""
    like = torch.zeros(1, 3, dtype=torch.float64)
    exact = factor_analysis()
    assert uniformity(calibration_ranks(exact, like)["z"], 63).min() > 1e-4
    for widen in (0.6, 1.6):
        with torch.no_grad():
            exact.phi["L"].mul_(widen)
        assert uniformity(calibration_ranks(exact, like)["z"], 63).max() < 1e-4
        with torch.no_grad():
            exact.phi["L"].div_(widen)
    ranks = calibration_ranks(exact, like, simulations=7, draws=5)["z"]
    assert ranks.shape == (7, 2)
    assert 0 <= ranks.min() <= ranks.max() <= 5
    with pytest.raises(InferenceError, match="16 bins"):
        uniformity(ranks, 5)


def test_calibration_of_a_global_latent_takes_a_posterior():
    pair, given = LinearRegression().double(), torch.randn(8, 1, dtype=torch.float64)
    like = torch.zeros(8, 1, dtype=torch.float64)

    def posterior(x, given, draws, widen=1.0):
        exact = pair.posterior(x, given)
        return {"w": exact.mean + widen * (exact.sample((draws,)) - exact.mean)}

    ranks = calibration_ranks(pair, like, 160, 63, given, posterior)["w"]
    assert uniformity(ranks, 63).min() > 1e-4
    narrow = calibration_ranks(pair, like, 160, 63, given, lambda *args, draws: posterior(*args, draws, widen=0.3))["w"]
    assert uniformity(narrow, 63).max() < 1e-4
    with pytest.raises(InferenceError, match="needs a posterior"):
        calibration_ranks(pair, like, given=given)


def test_predictive_checks():
    """The p-value of data of the model itself is below a with probability 2 a at most (Meng, 1994)."""
    for pair, wide in ((factor_analysis(), 3), (GaussianMixture().double(), 2)):
        like = torch.zeros(1, wide, dtype=torch.float64)
        x = sample(pair, like, 150)["x"]
        p = predictive_check(pair, x, lambda x: x.std(0))["p_value"]
        assert p.shape == (wide,)
        assert ((p > 1 / 200) & (p < 1)).all()
        found = predictive_check(pair, x + torch.randn_like(x) * 3 * x.std(0), lambda x: x.std(), replicates=50)
        assert found["p_value"].item() == pytest.approx(1 / 51)
        assert found["replicated"].shape == (50, 1)


# NUTS


def test_nuts_on_linear_regression_is_the_conjugate_posterior():
    dataset = data.load("line").to(dtype=torch.float64)
    pair = LinearRegression().double()
    found = nuts(pair, dataset.x, dataset.given, draws=600, warmup=200)
    p, w = pair.posterior(dataset.x, dataset.given), found["summary"]["w"]
    assert found["draws"]["w"].shape == (2, 600, 2)
    assert found["divergences"] == 0
    assert found["gradients"] > 1600
    assert ((w["mean"] - p.mean).abs() < 4 * w["mcse"]).all()
    squares = (found["draws"]["w"] - p.mean).square()  # the variance is the mean of these
    error = squares.flatten(0, 1).std(0) / w["ess"].sqrt()
    assert ((squares.mean((0, 1)) - p.variance).abs() < 4 * error).all()


def test_nuts_on_the_latents_of_a_few_data():
    pair, x = exponential_gaussian()
    found = nuts(pair, x, draws=500, warmup=200, chains=1)
    z, p = found["summary"]["z"], pair.posterior(x)
    assert found["draws"]["z"].min() > 0
    assert ((z["mean"] - p.mean).abs() < 4 * z["mcse"]).all()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("gaussian_mixture", "no continuous"),
        ("gmvae", "discrete parent"),
        ("autoencoder", "flat"),
        ("ss_vae", "sum out"),
    ],
)
def test_nuts_refuses(model, message):
    with pytest.raises(InferenceError, match=message):
        nuts(build(model), *arguments(model))
    with pytest.raises(InferenceError, match="draws must be at least 4"):
        nuts(build("vae"), *arguments("vae"), draws=0)
