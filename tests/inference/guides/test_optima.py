"""Fitted guides against the optima that theory knows."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from free_guides import build_free, factor_analysis, fit, guide_of, line, mean_field_kl
from known import close
from torch import nn
from torch.distributions import kl_divergence

import data
from gallery.models.exponential_gaussian import LogNormal
from inference import (
    SVI,
    FittedRows,
    InferenceError,
    Settings,
    eval_mode,
    evaluate,
    finish,
    log_weights,
    reconstruct,
    with_guide,
)
from inference.pairs.run import importance_traces
from inference.pairs.sites import latent_sites


@pytest.mark.slow  # tests/truths/test_linear_regression.py holds the optima of both families by default
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
        with FittedRows(), eval_mode(fitted):
            log_w = log_weights(fitted, x, given, k=200)
        error = log_w.std().item() / math.sqrt(len(log_w))
        assert log_w.mean() < exact + 4 * error, name
        if name != "normal":
            assert log_w.mean() > exact - least + 4 * error, name
    assert kl["multivariate"] < least
    assert kl["normal"] > least - 1e-8


def test_full_covariance_for_each_data_point_is_the_posterior_of_factor_analysis():
    pair, x = factor_analysis(20)
    p, kl = pair.posterior(x), {}
    least = mean_field_kl(p)
    exact = with_guide(pair, "multivariate", x)
    exact.free_guide.set_normal(p.mean, p.scale_tril)
    with FittedRows(), eval_mode(exact):
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


def test_per_data_point_on_the_half_line_stays_below_the_evidence_and_beats_a_short_fit_of_a_network():
    x = data.load("exponential_gaussian").to(dtype=torch.float64).x[:200]
    own = fit(LogNormal().double(), x, only=None, epochs=30, lr=1e-2)
    free = fit(with_guide(own, "normal", x), x, epochs=300)
    assert isinstance(guide_of(free, x), dist.LogNormal)
    bounds = [evaluate(pair, x, particles=200, held_out=False) for pair in (own, free)]
    amortised, alone = (bound["elbo"] for bound in bounds)
    assert alone["value"] < bounds[1]["evidence"]["value"] + 4 * alone["mc_se"]
    assert alone["value"] > amortised["value"] + 4 * math.hypot(alone["mc_se"], amortised["mc_se"])
    assert bounds[1]["kl_per_latent"]["z"][0] > 0
    with FittedRows():
        assert reconstruct(free, x).shape == x.shape


def test_held_out_data_have_no_bound_under_free_parameters():
    pair, (x,) = build_free("factor_analysis", "multivariate")
    assert "elbo" not in evaluate(pair, x)
    assert "parameters for each data point" in evaluate(pair, x)["undefined"]["elbo"]


class Hierarchy(nn.Module):
    """mu ~ N(0, 3), z_i ~ N(mu, 1) of a data point, x_i ~ N(z_i, 1): all is jointly normal."""

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


def test_full_covariance_ties_local_latents_to_global_ones():
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
    with FittedRows(), eval_mode(pair):
        close(log_weights(pair, x, k=3), exact.expand(3, 1))
    losses = SVI(pair, x, settings=Settings(particles=4)).loss(torch.arange(6))
    close(losses, -exact)
    with pytest.raises(InferenceError, match="local latents and global latents"):
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
        with FittedRows(), eval_mode(pair):
            log_w = log_weights(pair, x, k=400)
        error = (log_w.var(0).sum() / 400).sqrt()
        assert log_w.mean(0).sum() < exact.sum() + 4 * error
