"""Guides by name: the contract of every family, the optima that theory knows, and what is refused."""

import copy
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import N, arguments, build
from pyro import poutine
from pyro.infer import Trace_ELBO, autoguide
from torch import nn
from torch.distributions import kl_divergence

import data
from gallery.models.exponential_gaussian import ExponentialGaussian, LogNormal, PerDatum
from gallery.models.factor_analysis import FactorAnalysis
from gallery.models.linear_regression import LinearRegression
from gallery.models.loaded_die import LoadedDie
from inference import SVI, InferenceError, Settings, eval_mode, evaluate, log_weights, param_scope, reconstruct
from inference.fit.graph import traced
from inference.guides.laplace import laplace
from inference.guides.registry import GUIDES, finish, parse_guide, with_guide
from inference.pairs.handlers import SetRows
from inference.pairs.info import inspect_pair
from inference.pairs.run import importance_traces
from inference.pairs.sites import is_local, latent_sites

FREE = ["delta", "normal", "multivariate", "low_rank", "flow", "laplace"]
LOCAL = ["exponential_gaussian", "squared_gaussian", "factor_analysis", "vae", "cvae", "autoencoder:map"]
GLOBAL = ["linear_regression", "linear_regression:unknown_noise", "loaded_die"]
ONE_NUMBER = {"exponential_gaussian", "squared_gaussian"}
BOTH = [(m, g) for m in LOCAL + GLOBAL for g in FREE if not (g == "flow" and m in ONE_NUMBER)]
every = pytest.mark.parametrize(("model", "name"), BOTH)


def close(a, b, tolerance=1e-8):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def made(model, name, seed=0):
    """(a pair with that guide in float64, its data)."""
    torch.manual_seed(seed)
    args = arguments(model, torch.float64)
    return with_guide(build(model).double(), name, *args), args


def fit(pair, x, given=None, only="guide", **settings):
    defaults = {"batch_size": len(x), "lr": 3e-2, "lr_schedule": "cosine", "adam_beta2": 0.99}
    for _ in SVI(pair, x, given, Settings(**defaults | settings), only=only):
        pass
    return pair


def guide_of(pair, *args):
    with eval_mode(pair):
        return next(iter(latent_sites(importance_traces(pair, args)[1]).values()))["fn"]


def moved(pair, by=0.5):
    """The pair with every parameter of its free guide at a random place."""
    with torch.no_grad():
        for parameter in pair.free_guide.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return pair


def line():
    dataset = data.load("line").to(dtype=torch.float64)
    return LinearRegression().double(), dataset.x, dataset.given


def factor_analysis(n=50):
    """A factor analysis with correlated factors, its own guide anywhere, and data."""
    torch.manual_seed(0)
    pair = FactorAnalysis().double()
    with torch.no_grad():
        pair.theta["W"].copy_(torch.tensor([[1.0, 0.5], [1.0, 1.0], [-0.5, 1.0]]))
        pair.theta["pre_sigma"].fill_(math.log(math.expm1(1)))
    return pair, torch.randn(n, 3, dtype=torch.float64) @ torch.linalg.cholesky(
        pair.theta["W"] @ pair.theta["W"].T + torch.eye(3)
    ).T.detach()


def mean_field_kl(posterior):
    """KL of the best factorised normal to a normal posterior: means are right, variances 1 / precision_jj (Bishop,
    Pattern recognition and machine learning, 2006, section 10.1.2)."""
    best = dist.MultivariateNormal(
        posterior.mean, scale_tril=posterior.precision_matrix.diagonal(0, -2, -1).rsqrt().diag_embed()
    )
    return kl_divergence(best, posterior)


# The contract


@every
def test_sites_scales_precision_and_gradients(model, name):
    pair, args = made(model, name)
    some, rows = tuple(a[:4] for a in args), torch.tensor([3, 1, 0, 2])
    of_model, guide = importance_traces(pair, some, rows, total=N)
    assert latent_sites(of_model).keys() == latent_sites(guide).keys()
    for site in latent_sites(guide).values():
        assert float(site["scale"]) == (N / 4 if is_local(site) else 1.0)
        assert site["value"].dtype == site["log_prob"].dtype == torch.float64
    assert bool(inspect_pair(pair, args).delta_sites) == (name in ("delta", "laplace"))
    assert inspect_pair(pair, args).is_per_data_point == (model in LOCAL)
    svi = SVI(pair, *args, settings=Settings(particles=2))
    moved(pair).zero_grad()  # the layers before the last of a flow get no gradient at its start
    svi.loss(torch.arange(N)).backward()
    for key, parameter in pair.free_guide.named_parameters():
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key
    own = pair.state_dict().keys() - {key for key in pair.state_dict() if key.startswith("free_guide.")}
    assert own == build(model).state_dict().keys()


@pytest.mark.parametrize(("model", "name"), [(m, g) for m, g in BOTH if m in ("cvae", *ONE_NUMBER, *GLOBAL[1:])])
def test_same_seed_same_numbers_copies_and_state_dict(model, name):
    pair, args = made(model, name)
    other, _ = made(model, name, seed=1)

    def loss(pair):
        torch.manual_seed(2)
        return SVI(pair, *args).loss(torch.arange(N)).detach()

    expected = loss(pair)
    assert expected == loss(pair) != loss(other)
    other.load_state_dict(pair.state_dict())
    close(loss(other), expected, 1e-12)  # the last bit may hang on where in memory a tensor lies
    pair.zero_grad()
    SVI(pair, *args).loss(torch.arange(N)).backward()  # what is kept of a draw does not hinder a copy
    copied = copy.deepcopy(pair)
    moved(pair)
    close(loss(copied), expected, 1e-12)
    assert loss(pair) != expected
    assert list(pyro.get_param_store().keys()) == []


@pytest.mark.parametrize(
    ("model", "name"), [("loaded_die", "multivariate"), *(("factor_analysis", name) for name in FREE)]
)
def test_the_graph_of_a_step_is_the_step(model, name):
    pair, args = made(model, name)
    svi = SVI(moved(pair, 0.1), *args)
    inputs = svi.loss.step_arguments(torch.arange(N))
    torch.manual_seed(3)
    expected = svi.loss.gradients(*inputs)
    graph = traced(svi.loss.gradients, inputs)
    torch.manual_seed(3)
    for a, b in zip(graph(*inputs), expected, strict=True):
        close(a, b)


@pytest.mark.parametrize("name", FREE)
def test_meta_device(name):
    pair, (x,) = made("factor_analysis", name)
    pair, x = pair.to("meta"), x.to("meta")
    with pyro.validation_enabled(False), param_scope(), SetRows(torch.arange(N, device="meta")):
        site = importance_traces(pair, (x,))[1].nodes["z"]
    assert site["value"].device.type == site["log_prob"].device.type == "meta"


@pytest.mark.parametrize("name", FREE)
def test_a_row_has_its_own_parameters_however_it_is_reached(name):
    pair, (x,) = made("factor_analysis", name)
    moved(pair)
    rows, whole = torch.randperm(N)[:5], guide_of(pair, x)
    value = whole.rsample()
    for k in (1, 3):  # as in a minibatch, and repeated for several draws
        many = rows.repeat(k)
        q = importance_traces(pair, (x[many],), many)[1].nodes["z"]["fn"]
        if name in ("delta", "laplace"):
            close(q.mean, whole.mean[many])
        else:
            close(q.log_prob(value[many]), whole.log_prob(value)[many])
    with pytest.raises(InferenceError, match="none for row 12"):
        importance_traces(pair, (x[:2],), torch.tensor([0, N]), total=N + 1)


def test_minibatches_fit_every_datum_to_its_own_posterior():
    """The mode of a normal posterior is its mean: a permutation of the data permutes what is fitted."""
    pair, x = factor_analysis(8)
    for rows in (torch.arange(8), torch.randperm(8)):
        fitted = fit(with_guide(pair, "delta", x[rows]), x[rows], epochs=150, batch_size=4)
        mode, known = fitted.free_guide.q["z"]["loc"], pair.posterior(x).mean
        assert torch.cdist(mode, known).argmin(1).tolist() == rows.tolist()
        assert (mode - known[rows]).norm() < 0.1 * known.norm()


@pytest.mark.parametrize("objective", ["score", "graph", "analytic", "iwae:3", "dreg:3", "wake-sleep:3"])
@pytest.mark.parametrize(("model", "name"), [("loaded_die", "flow"), ("vae", "low_rank"), ("cvae", "multivariate")])
def test_other_objectives_apply(model, name, objective):
    pair, args = made(model, name)
    svi = SVI(moved(pair, 0.1), *args, settings=Settings(objective=objective))
    gradients = torch.autograd.grad(svi.loss(torch.arange(N)), list(pair.free_guide.parameters()))
    assert all(g.isfinite().all() and g.any() for g in gradients)


@pytest.mark.parametrize("name", ["normal", "multivariate", "low_rank", "flow"])
@pytest.mark.parametrize("model", ["loaded_die", "factor_analysis"])
def test_the_score_of_a_draw_is_that_of_its_value(model, name):
    """Nothing that a draw without gradient leaves behind stands in for what depends on the parameters."""
    pair, args = made(model, name)
    moved(pair, 0.3)
    parameters, scores = list(pair.free_guide.parameters()), []
    for known in (lambda z: z, torch.clone):
        torch.manual_seed(4)
        with param_scope():
            q = next(iter(latent_sites(poutine.trace(pair.guide).get_trace(*args)).values()))["fn"]
        with torch.no_grad():
            z = q()
        scores.append(torch.autograd.grad(q.log_prob(known(z)).sum(), parameters, allow_unused=True))
    for a, b in zip(*scores, strict=True):
        close(a, b, 1e-7)  # the inverse to the simplex takes differences of numbers near 1


# What Pyro's own have too


@pytest.mark.parametrize(
    ("name", "cls"), [("normal", "AutoDiagonalNormal"), ("multivariate", "AutoMultivariateNormal")]
)
@pytest.mark.parametrize("model", GLOBAL)
def test_the_bound_is_that_of_pyros_autoguide(model, name, cls):
    pair, args = made(model, name)
    moved(pair, 0.3)
    theirs = getattr(autoguide, cls)(build(model).double().model)
    with param_scope():
        theirs(*args)
    free, mine = pair.free_guide, {}
    for latent in free.latents:
        mine[latent.name] = {key: value.detach() for key, value in free.q[latent.name].items()}
    loc = torch.cat([q["loc"] for q in mine.values()])
    scale = torch.cat([q["log_scale"].exp() for q in mine.values()])
    L = torch.eye(len(loc), dtype=torch.float64)
    if name == "multivariate":  # u_2 = loc_2 + on_1 u_1 + scale_2 unit_2 e_2
        L, i = scale.diag(), 0
        for latent in free.latents:
            q, j = mine[latent.name], i + latent.size
            if latent.size > 1:
                L[i:j, i:j] = q["log_scale"].exp().unsqueeze(-1) * (L[i:j, i:j].sign() + q["A"].tril(-1))
            if i:
                L[i:j, :i] = q["on_w"] @ L[:i, :i]
                loc[i:j] += q["on_w"] @ loc[:i]
            i = j
        scale, L = L.diagonal(), L / L.diagonal().unsqueeze(-1)
        theirs.scale_tril = L
    theirs.loc.data, theirs.scale = loc, scale
    losses = []
    for guide in (pair.guide, theirs):
        torch.manual_seed(5)
        with param_scope():
            losses.append(Trace_ELBO().loss(pair.model, guide, *args))
    assert losses[0] == pytest.approx(losses[1], rel=1e-8)


def test_laplace_is_that_of_pyros_autoguide():
    dataset = data.load("loaded_die").to(dtype=torch.float64)
    pair = finish(with_guide(LoadedDie().double(), "laplace", dataset.x), dataset.x)
    theirs = autoguide.AutoLaplaceApproximation(pair.model)
    with param_scope():
        theirs(dataset.x)
        theirs.loc.data = pair.free_guide.q["p"]["loc"].data.clone()  # the mode
        normal = theirs.laplace_approximation(dataset.x)
    mine = guide_of(pair, dataset.x).base_dist
    L = normal.scale.unsqueeze(-1) * normal.scale_tril
    close(mine.covariance_matrix, L @ L.T)


# What theory knows


def test_mean_field_is_biased_on_a_correlated_posterior_and_full_covariance_is_not():
    pair, x, given = line()
    p, kl = pair.posterior(x, given), {}
    least, exact = mean_field_kl(p).item(), pair.log_evidence(x, given).item()
    for name in ("normal", "multivariate", "flow"):
        steps = {"epochs": 300, "particles": 8} if name == "flow" else {"epochs": 600, "particles": 32}
        fitted = fit(with_guide(pair, name, x, given), x, given, lr=5e-2, **steps)
        if name != "flow":
            q = guide_of(fitted, x, given)
            assert (q.stddev < p.stddev).all() or name != "normal"
            q = q if name == "multivariate" else dist.MultivariateNormal(q.mean, scale_tril=q.stddev.diag())
            kl[name] = kl_divergence(q, p).item()
        with eval_mode(fitted):
            log_w = log_weights(fitted, x, given, k=200)
        error = log_w.std().item() / math.sqrt(len(log_w))
        assert log_w.mean() < exact + 4 * error, name
        if name != "normal":
            assert log_w.mean() > exact - least + 4 * error, name
    assert kl["multivariate"] < least
    assert kl["normal"] > least - 1e-8


def test_full_covariance_for_each_datum_is_the_posterior_of_factor_analysis():
    pair, x = factor_analysis(20)
    p, kl = pair.posterior(x), {}
    least = mean_field_kl(p)
    exact = with_guide(pair, "multivariate", x)
    exact.free_guide.set_normal(p.mean, p.scale_tril)
    with eval_mode(exact):
        close(log_weights(exact, x, k=3), pair.log_evidence(x).expand(3, -1))
    for name in ("normal", "multivariate"):
        fitted = fit(with_guide(pair, name, x), x, epochs=300, objective="analytic")
        q = guide_of(fitted, x)
        q = q if name == "multivariate" else dist.MultivariateNormal(q.mean, scale_tril=q.stddev.diag_embed())
        kl[name] = kl_divergence(q, p)
        bound = evaluate(fitted, x, particles=100, held_out=False)
        gap, error = bound["evidence"]["value"] - bound["elbo"]["value"], bound["elbo"]["mc_se"]
        assert abs(gap - kl[name].mean()) < 4 * error, name
    assert (kl["normal"] > least - 1e-8).all()
    assert (kl["multivariate"] < least).all()


def test_per_datum_on_the_half_line_stays_below_the_evidence_and_beats_a_hurried_network():
    x = data.load("exponential_gaussian").to(dtype=torch.float64).x[:200]
    own = fit(LogNormal().double(), x, only=None, epochs=30, lr=1e-2)
    free = fit(with_guide(own, "normal", x), x, epochs=300)
    assert isinstance(guide_of(free, x), dist.LogNormal)
    found = [evaluate(pair, x, particles=200, held_out=False) for pair in (own, free)]
    amortised, alone = (bound["elbo"] for bound in found)
    assert alone["value"] < found[1]["evidence"]["value"] + 4 * alone["mc_se"]
    assert alone["value"] > amortised["value"] + 4 * math.hypot(alone["mc_se"], amortised["mc_se"])
    assert found[1]["kl_per_latent"]["z"][0] > 0
    assert reconstruct(free, x).shape == x.shape


def test_held_out_data_have_no_bound_under_free_parameters():
    pair, (x,) = made("factor_analysis", "multivariate")
    assert "elbo" not in evaluate(pair, x)
    assert "parameters of its own" in evaluate(pair, x)["undefined"]["elbo"]


@pytest.mark.parametrize("epochs", [1, 30])
def test_laplace_is_exact_where_the_posterior_is_normal(epochs):
    """Wherever the fit of the mode ended, as Newton's method takes it from there."""
    pair, x, given = line()
    fitted = finish(fit(with_guide(pair, "laplace", x, given), x, given, epochs=epochs), x, given)
    q, p = guide_of(fitted, x, given), pair.posterior(x, given)
    close(q.mean, p.mean, 1e-6)
    close(q.covariance_matrix, p.covariance_matrix, 1e-6)
    pair, x = factor_analysis()
    fitted = finish(fit(with_guide(pair, "laplace", x), x, epochs=epochs), x)
    with eval_mode(fitted):
        close(log_weights(fitted, x, k=3), pair.log_evidence(x).expand(3, -1), 1e-6)
    assert finish(fitted, x) is fitted


def test_laplace_on_the_half_line_has_the_mode_and_the_curvature_of_log_z():
    """log p(x, u) = u - z - (x - z)^2 / 2 + const at z = exp(u): z^2 + (1 - x) z = 1, H = z + z (2 z - x)."""
    x = torch.linspace(-3, 4, 8, dtype=torch.float64).unsqueeze(-1)
    fitted = finish(with_guide(ExponentialGaussian().double(), "laplace", x), x)
    z = ((x - 1) + ((x - 1).square() + 4).sqrt()) / 2
    H = z + z * (2 * z - x)
    q = guide_of(fitted, x)
    close(q.base_dist.loc, z.squeeze(-1).log())
    close(q.base_dist.scale, H.squeeze(-1).rsqrt())


def test_newton_leaves_saddles_and_refuses_what_has_no_curvature():
    start = torch.tensor([[0.1, 2.0], [-0.1, 2.0]], dtype=torch.float64)
    m, L = laplace(lambda u: -(u[:, 0].square() - 1).square() - u[:, 1].square() / 2, start)
    close(m, torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64))
    close(L, torch.diag(torch.tensor([8**-0.5, 1.0], dtype=torch.float64)).expand(2, -1, -1))
    with pytest.raises(InferenceError, match="1 of 2 densities are not curved"):
        laplace(lambda u: -u.square() @ u.new_ones(2) + torch.tensor([0, 1]) * u[:, 1].square(), start)


# Semi-amortised


def bad_network(n=50):
    """A factor analysis, its guide with a mean of 0 whatever x, and data."""
    pair, x = factor_analysis(n)
    with torch.no_grad():
        pair.phi["V"].zero_()
    return pair, x


def test_refinement_raises_the_bound_of_a_bad_network_on_any_data_and_does_not_harm_a_perfect_one():
    pair, x = bad_network()
    semi = with_guide(pair, "semi:20", x)
    new = x.flip(1)
    assert evaluate(semi, new)["elbo"] == evaluate(pair, new)["elbo"]  # not yet finished
    before, after = (evaluate(p, new, particles=100) for p in (pair, finish(semi, x)))
    error = math.hypot(before["elbo"]["mc_se"], after["elbo"]["mc_se"])
    assert after["elbo"]["value"] > before["elbo"]["value"] + 4 * error
    assert after["elbo"]["value"] < after["evidence"]["value"] + 4 * error
    posterior = pair.posterior(torch.eye(3, dtype=torch.float64))
    with torch.no_grad():
        pair.phi["V"].copy_(posterior.mean.T)
        pair.phi["L"].copy_(posterior.scale_tril[0])
    after = evaluate(finish(with_guide(pair, "semi_amortised", x), x), x, particles=100)
    assert after["elbo"]["value"] > after["evidence"]["value"] - 4 * after["elbo"]["mc_se"] - 1e-8


def test_refinement_does_not_lower_the_bound_of_a_good_network():
    x = data.load("exponential_gaussian").to(dtype=torch.float64).x[:200]
    own = fit(LogNormal().double(), x, only=None, epochs=20, batch_size=20, lr=1e-2)
    before, after = (evaluate(p, x, particles=200) for p in (own, finish(with_guide(own, "semi:5", x), x)))
    error = math.hypot(before["elbo"]["mc_se"], after["elbo"]["mc_se"])
    assert after["elbo"]["value"] > before["elbo"]["value"] - 4 * error


def test_a_semi_amortised_pair_is_fitted_as_the_networks_own():
    pair, x = bad_network()
    fitted = []
    for name in ("own", "semi:3"):
        torch.manual_seed(1)
        fitted.append(fit(with_guide(pair, name, x), x, only=None, epochs=3).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(fitted[0].values(), fitted[1].values(), strict=True))


# Models of a user


class Hierarchy(nn.Module):
    """mu ~ N(0, 3), z_i ~ N(mu, 1) of a datum, x_i ~ N(z_i, 1): all is jointly normal."""

    def model(self, x, total=None):
        mu = pyro.sample("mu", dist.Normal(x.new_zeros(()), 3.0))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(mu, 1.0).expand((len(x),)) if mu.dim() == 0 else dist.Normal(mu, 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.sample("mu", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Normal(x[:, 0], 1.0))


class Bounded(nn.Module):
    """z ~ Uniform(1, 4), x ~ N(z, 1): the support of a latent need not begin at 0."""

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Uniform(x.new_ones(len(x)), 4.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Uniform(x.new_ones(len(x)), 4.0))


def test_full_covariance_ties_latents_of_a_datum_to_those_of_all():
    """p(z_i | mu, x) = N((mu + x_i) / 2, 1/2) and p(mu | x) is normal: the weights are constant there."""
    x = torch.randn(6, 1, dtype=torch.float64)
    pair = with_guide(Hierarchy(), "multivariate", x)
    q, precision = pair.free_guide.q, 1 / 9 + len(x) / 2
    with torch.no_grad():
        q["mu"]["loc"].copy_(x.sum() / 2 / precision)
        q["mu"]["log_scale"].fill_(-0.5 * math.log(precision))
        q["z"]["loc"].copy_(x / 2)
        q["z"]["on_mu"].fill_(0.5)
        q["z"]["log_scale"].fill_(-0.5 * math.log(2))
    covariance = 2 * torch.eye(6, dtype=torch.float64) + 9
    exact = dist.MultivariateNormal(torch.zeros(6, dtype=torch.float64), covariance).log_prob(x[:, 0])
    with eval_mode(pair):
        close(log_weights(pair, x, k=3), exact.expand(3, 1))
    losses = SVI(pair, x, settings=Settings(particles=4)).loss(torch.arange(6))
    close(losses, -exact)
    with pytest.raises(InferenceError, match="latents of a datum and latents of all data"):
        with_guide(Hierarchy(), "laplace", x)


@pytest.mark.parametrize("name", ["delta", "normal", "laplace"])
def test_any_interval_is_a_support(name):
    x = torch.linspace(0, 5, 20, dtype=torch.float64).unsqueeze(-1)
    pair = finish(fit(with_guide(Bounded(), name, x), x, epochs=200), x)
    z = latent_sites(importance_traces(pair, (x,))[1])["z"]["value"]
    assert ((z > 1) & (z < 4)).all()
    if name != "delta":
        normal = dist.Normal(torch.zeros((), dtype=torch.float64), 1.0)
        exact = ((normal.cdf(4 - x[:, 0]) - normal.cdf(1 - x[:, 0])) / 3).log()
        with eval_mode(pair):
            log_w = log_weights(pair, x, k=400)
        error = (log_w.var(0).sum() / 400).sqrt()
        assert log_w.mean(0).sum() < exact.sum() + 4 * error


# What is refused


@pytest.mark.parametrize("name", ["normal", "semi_amortised"])
@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("gaussian_mixture", "sums out y"),
        ("hmm", "sums out"),
        ("gmvae", "sums out y"),
        ("gmvae:relaxed", "sums out y"),
        ("ss_vae", "sums out y"),
        ("vrnn", "sequence of 3 steps"),
        ("autoencoder", "flat prior of z"),
        ("denoising_autoencoder", "flat prior of z"),
    ],
)
def test_models_that_a_guide_by_name_cannot_serve(model, name, why):
    why = "does not read" if name == "semi_amortised" else why
    with pytest.raises(InferenceError, match=why) as error:
        with_guide(build(model), name, *arguments(model))
    assert type(build(model)).__name__ in str(error.value)
    assert "\n" not in str(error.value)


def test_names():
    pair, x = factor_analysis(4)
    for name in GUIDES:
        if name != "semi:STEPS":
            assert parse_guide(name)[0] == name
    assert parse_guide("semi:7") == ("semi_amortised", 7)
    with pytest.raises(InferenceError, match="Did you mean 'multivariate'"):
        with_guide(pair, "multivariat", x)
    for name in ("semi:0", "semi:-1", "semi:1.5", "semi:STEPS", "semi", "semi:"):
        with pytest.raises(InferenceError, match="whole number from 1 on"):
            with_guide(pair, name, x)


def test_what_a_family_cannot_do():
    x = torch.randn(N, 1)
    with pytest.raises(InferenceError, match="couplings need two"):
        with_guide(ExponentialGaussian(), "flow", x)
    with pytest.raises(InferenceError, match="does not read"):
        with_guide(PerDatum(total=N), "semi_amortised", x)
    with pytest.raises(InferenceError, match="finish it with them"):
        finish(with_guide(ExponentialGaussian(), "laplace", x), x[:5])
    with pytest.raises(InferenceError, match="conditions on labels or covariates"):
        with_guide(LinearRegression(), "normal", x)
