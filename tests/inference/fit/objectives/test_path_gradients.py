"""Gradients of the guide through its draws alone: no noise at the posterior, and the orders of signal and noise."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from fits import fit_with, loss_and_gradient
from known import Chain, close, factor_analysis
from torch import nn

from gallery.models.exponential_gaussian import PerDatum
from gallery.models.linear_regression import LinearRegression
from inference import param_scope
from inference.fit.objectives import objective

F64 = torch.float64


def exact_exponential_gaussian():
    """Each data point's truncated normal is its posterior, Normal(x - 1, 1) on z >= 0."""
    pair, x = PerDatum(total=20).double(), torch.randn(20, 1, dtype=F64) + 1
    with torch.no_grad():
        pair.eta.weight.copy_(torch.stack([x[:, 0] - 1, torch.full((20,), math.log(math.expm1(1)), dtype=F64)], dim=1))
    return pair, x, None, [pair.eta.weight]


def exact_factor_analysis():
    pair = factor_analysis()
    return pair, torch.randn(20, 3, dtype=F64), None, list(pair.phi.values())


@pytest.mark.parametrize("case", [exact_exponential_gaussian, exact_factor_analysis])
@pytest.mark.parametrize(("name", "quiet"), [("stl", True), ("loo:3", True), ("trace", False), ("reinforce", False)])
def test_the_guides_gradient_has_no_variance_at_the_posterior(case, name, quiet):
    pair, x, given, weights = case()
    svi = fit_with(pair, name, x, given)
    draws = torch.stack([loss_and_gradient(svi, seed=i, weights=weights)[1] for i in range(5)]) / len(x)
    assert (draws.abs().max() < 1e-12) == quiet
    assert (draws.var(0).max() < 1e-24) == quiet


@pytest.mark.parametrize("name", ["stl", "loo:4"])
def test_a_global_latent_in_minibatches(name):
    """The ELBO is a sum over data, so a minibatch has an estimate of it; at the posterior of all data there is no
    noise."""
    given, x = torch.randn(12, 2, dtype=F64), torch.randn(12, 1, dtype=F64)
    pair = LinearRegression(given_dim=2).double()
    svi, rows = fit_with(pair, name, x, given), torch.tensor([3, 0, 7])
    loss, _ = loss_and_gradient(svi, rows)
    svi.loss.estimator = objective("trace", 4 if name == "loo:4" else 1, True)
    close(loss, loss_and_gradient(svi, rows)[0])
    posterior = pair.posterior(x, given)
    L = torch.linalg.cholesky(posterior.covariance_matrix)
    with torch.no_grad():
        pair.q["m"].copy_(posterior.mean)
        pair.q["log_s"].copy_(L.diag().log())
        pair.q["A"].copy_((L / L.diag().unsqueeze(-1)).tril(-1))
    _, gradient = loss_and_gradient(fit_with(pair, name, x, given))
    close(gradient, torch.zeros_like(gradient), 1e-9)


def test_sticking_the_landing_is_doubly_reparametrised_with_one_draw():
    for pair, x in (
        (Chain().double(), torch.randn(6, 1, dtype=F64)),
        (factor_analysis(1.5), torch.randn(7, 3).double()),
    ):
        (loss, gradient), (other, of_dreg) = (loss_and_gradient(fit_with(pair, name, x)) for name in ("stl", "dreg:1"))
        close(loss, other)
        close(gradient, of_dreg)
        close(loss, loss_and_gradient(fit_with(pair, "trace", x))[0])


class Charged(Chain):
    """The chain with a factor in its guide, a charge for each data point that depends on its parameters."""

    def guide(self, x, total=None):
        pyro.module("q", self.q)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.factor("charge", self.q["a"].square() * x[:, 0].square() + self.q["b"], has_rsample=True)
            z = pyro.sample("z_1", dist.Normal(self.q["a"] * x[:, 0], 0.8))
            pyro.sample("z_2", dist.Normal(z + self.q["b"] * x[:, 0], 0.7))


@pytest.mark.parametrize("name", ["stl", "dreg:3", "piwae:2:3", "iwae:3", "loo:3", "vimco:3", "wake-sleep:3"])
def test_a_factor_of_the_guide_is_a_charge_whatever_the_estimator(name):
    x = torch.randn(6, 1, dtype=F64)
    charged, free = (loss_and_gradient(fit_with(kind().double(), name, x)) for kind in (Charged, Chain))
    a = Chain().q["a"].double()
    close(charged[0] - free[0], (a.square() * x.square() + 0.6).sum().detach(), 1e-6)
    close(charged[1] - free[1], torch.stack([2 * a * x.square().sum(), torch.full((), 6.0, dtype=F64)]).detach(), 1e-6)


class OfRows(nn.Module):
    """z ~ N(m_i, 1), x ~ N(z, 1) and q(z) = N(l_i, 0.8), the m_i = 0 and l_i = 1 separate parameters: one gradient has
    a draw of the noise for each data point."""

    def __init__(self, n):
        super().__init__()
        self.theta = nn.ParameterDict({"m": torch.zeros(n, dtype=F64)})
        self.phi = nn.ParameterDict({"l": torch.ones(n, dtype=F64)})

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)) as rows:
            z = pyro.sample("z", dist.Normal(self.theta["m"][rows], 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)) as rows:
            pyro.sample("z", dist.Normal(self.phi["l"][rows], 0.8))


def signal_to_noise(name, n):
    """Return {part: (signal-to-noise ratio of its gradient, its standard error)}, from n draws."""
    pair, x = OfRows(n), torch.ones(n, 1, dtype=F64)
    with param_scope(), pyro.validation_enabled(False):
        loss = objective(name).differentiable_loss(pair.model, pair.guide, x)
    gradients = torch.autograd.grad(loss, [pair.phi["l"], pair.theta["m"]])
    ratios = [(g.mean().abs() / g.std()).item() for g in gradients]
    return {part: (r, math.sqrt((1 + r * r / 2) / n)) for part, r in zip(("guide", "model"), ratios, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "of_guide"),
    [("iwae:{}", -0.5), ("miwae:3:{}", -0.5), ("piwae:3:{}", -0.5), ("dreg:{}", 0.5), ("vimco:{}", -0.5)],
)
def test_orders_of_the_signal_to_noise_ratio_in_k(name, of_guide):
    """The slope of its logarithm over log K, with the next term of the expansion, 1 / K, in the regression.

    The errors of the ratios are those of a mean and a standard deviation, and the bar is 4 errors of the slope.
    """
    draws = torch.tensor([4.0, 8, 16, 32, 64], dtype=F64)
    ratios = [signal_to_noise(name.format(int(k)), 8000) for k in draws]
    for part, expected in (("guide", of_guide), ("model", 0.5)):
        ratio, error = torch.tensor([of[part] for of in ratios], dtype=F64).T
        weight = (ratio / error).unsqueeze(-1)
        known = torch.stack([torch.ones_like(draws), draws.log(), 1 / draws], 1) * weight
        covariance = torch.linalg.inv(known.T @ known)
        slope = (covariance @ known.T @ (ratio.log() * weight[:, 0]))[1]
        bar = 4 * covariance[1, 1].sqrt()
        assert abs(slope - expected) < bar
        assert bar < 0.7  # else it could not separate 1/2 from -1/2


def test_the_guide_of_piwae_has_the_ratio_of_averaged_bounds():
    """sqrt(M / K): with 16 draws in all, 8 bounds of 2 draws against 1 of 16."""
    (several, _), (one, error) = (signal_to_noise(name, 2000)["guide"] for name in ("piwae:8:2", "piwae:1:16"))
    assert several - one > 4 * math.sqrt(2) * error
