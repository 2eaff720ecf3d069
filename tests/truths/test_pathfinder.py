"""Pathfinder on posteriors that are known: exact where they are normal, within its errors elsewhere, and its refusals.

Bars are 4 standard errors of the same draws, which one comparison in 16,000 exceeds by chance, unless a bound is named.
"""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import arguments, build
from small_pairs import Small
from torch import nn

import data
from gallery.models.eight_schools import Centred, MeanField
from gallery.models.linear_regression import LinearRegression
from gallery.models.logistic_regression import LogisticRegression
from inference import InferenceError, pathfinder
from inference.fit.lbfgs import lbfgs
from inference.fit.pathfinder import summary_of

pytestmark = pytest.mark.usefixtures("double")


def regression(slopes):
    given = torch.randn(50, slopes) * torch.logspace(-1, 1, slopes)
    return LinearRegression(given_dim=slopes), given.sum(1, keepdim=True) + torch.randn(50, 1), given


def normal(d):
    """Return a normal density of d coordinates as `lbfgs` takes it, its mean and its covariance."""
    A = torch.randn(d, d)
    mean, precision = torch.randn(d), A @ A.T / d + torch.eye(d)

    def evaluate(u):
        gradient = precision @ (mean - u)
        return u, 0.5 * (u - mean) @ gradient, gradient

    return evaluate, mean, torch.linalg.inv(precision)


@pytest.mark.parametrize("d", [1, 2, 5, 50])
def test_a_normal_density_is_known_after_as_many_steps_as_coordinates(d):
    evaluate, mean, covariance = normal(d)
    path = list(lbfgs(evaluate, evaluate(torch.randn(d)), torch.rand(d) + 0.5))
    assert len(path) <= d + 1
    (u, _, gradient), L = path[-1]
    torch.testing.assert_close(L @ L.T, covariance, rtol=0, atol=1e-8)
    torch.testing.assert_close(u + L @ (L.T @ gradient), mean, rtol=0, atol=1e-8)


def test_directions_that_no_step_takes_are_probed():
    """From the mode of one coordinate the climb has the other direction alone."""
    scales = torch.tensor([0.3, 4.0, 4.0, 90.0])

    def evaluate(u):
        return u, -0.5 * (u.square() / scales).sum(), -u / scales

    path = list(lbfgs(evaluate, evaluate(torch.tensor([0.0, 0.0, 3.0, 0.0])), torch.ones(4)))
    assert len(path) == 4
    torch.testing.assert_close(path[-1][1] @ path[-1][1].T, scales.diag(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("slopes", [1, 2, 6])
def test_a_conjugate_posterior_is_exact(slopes):
    """All weights p / q are then the evidence."""
    pair, x, given = regression(slopes)
    found, evidence = pathfinder(pair, x, given, draws=200), pair.log_evidence(x, given)
    assert max(found["steps"]) <= pair.dim + 1
    torch.testing.assert_close(found["log_weights"], evidence.expand(4, 200), rtol=0, atol=1e-8)
    torch.testing.assert_close(found["elbo"], evidence.expand(4), rtol=0, atol=1e-8)
    of_draws = pair.posterior(x, given).log_prob(found["draws"]["w"])
    torch.testing.assert_close(found["log_q"], of_draws, rtol=0, atol=1e-8)
    torch.testing.assert_close(found["log_p"], of_draws + evidence, rtol=0, atol=1e-8)
    assert found["k_hat"] == -math.inf


@pytest.mark.parametrize("paths", [1, 4])
def test_draws_have_the_moments_of_the_posterior(paths):
    pair, x, given = regression(2)
    p, found = pair.posterior(x, given), pathfinder(pair, x, given, draws=2000, paths=paths)
    assert found["ess"] == pytest.approx(1 / (1 / 2000 + (paths > 1) / 8000))
    w, squares = found["summary"]["w"], (found["draws"]["w"] - p.mean).square()
    assert ((w["mean"] - p.mean).abs() < 4 * w["mcse"]).all()
    assert ((squares.mean(0) - p.variance).abs() < 4 * summary_of(squares, found["ess"])["mcse"]).all()


class Counts(nn.Module):
    """rate ~ Gamma(3, 2), x_i ~ Poisson(rate): a latent with a bound, whose posterior is Gamma(3 + sum x, 2 + n)."""

    def model(self, x, total=None):
        rate = pyro.sample("rate", dist.Gamma(x.new_tensor(3.0), x.new_tensor(2.0)))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("x", dist.Poisson(rate.expand(len(x), 1)).to_event(1), obs=x)


class Mixture(nn.Module):
    """mu ~ Normal(0, 3), y_i ~ Bernoulli(0.4), x_i ~ Normal(mu + 3 y_i, 1): a latent above another to be summed out."""

    def model(self, x, total=None):
        mu = pyro.sample("mu", dist.Normal(x.new_zeros(()), 3.0))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            y = pyro.sample("y", dist.Bernoulli(x.new_full((len(x),), 0.4)), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal((mu + 3 * y).unsqueeze(-1), 1.0).to_event(1), obs=x)


def test_the_density_of_a_bounded_latent_has_its_jacobian():
    x = torch.tensor([[1.0], [4.0], [2.0]])
    p, found = dist.Gamma(3 + x.sum(), 2.0 + len(x)), pathfinder(Counts(), x, draws=2000)
    rate = found["draws"]["rate"]
    joint = dist.Gamma(3.0, 2.0).log_prob(rate) + dist.Poisson(rate).log_prob(x).sum(0)
    torch.testing.assert_close(found["log_p"], joint + rate.log(), rtol=0, atol=1e-8)
    assert found["k_hat"] < 0.7
    assert (found["elbo"] < (joint - p.log_prob(rate))[0]).all()  # the evidence
    assert (rate.mean() - p.mean).abs() < 4 * found["summary"]["rate"]["mcse"]


def test_a_discrete_latent_is_summed_out():
    x = torch.tensor([[0.1], [3.3], [-0.4], [2.0]])
    found = pathfinder(Mixture(), x, draws=2000)
    mu = found["draws"]["mu"]

    def log_joint(mu):
        of_y = [math.log(p) + dist.Normal(mu + 3 * y, 1.0).log_prob(x) for y, p in ((0, 0.6), (1, 0.4))]
        return dist.Normal(0.0, 3.0).log_prob(mu) + torch.stack(of_y).logsumexp(0).sum(0)

    torch.testing.assert_close(found["log_p"], log_joint(mu), rtol=0, atol=1e-8)
    grid = torch.linspace(-30, 30, 20001)
    mean = log_joint(grid).softmax(0) @ grid
    assert found["k_hat"] < 0.7
    assert (mu.mean() - mean).abs() < 4 * found["summary"]["mu"]["mcse"]


def test_a_model_that_cannot_be_traced_has_the_same_draws():
    pair, x, given = regression(1)

    def model(x, given, total=None):
        w = pyro.sample("w", pair.prior(x))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            mean = (pair.design(given) * (w if w.sum() < 1e9 else -w)).sum(-1, keepdim=True)
            pyro.sample("x", dist.Normal(mean, pair.noise).to_event(1), obs=x)

    traced = pathfinder(pair, x, given, draws=30)
    pair.model = model
    run = pathfinder(pair, x, given, draws=30)
    torch.testing.assert_close(run["draws"], traced["draws"], rtol=0, atol=1e-8)
    assert (run["gradients"], run["densities"]) == (traced["gradients"], traced["densities"])


@pytest.mark.parametrize("family", ["Dirichlet", "LKJCholesky", "SineSkewed", "DiscreteHMM"])
def test_latents_of_any_support(family, capfd):
    """Also where torch evaluates a batch row by row, of which it would warn."""
    pair, x = Small(family, "global"), torch.randn(6, 2)
    found = pathfinder(pair, x, draws=30, paths=2)
    z, prior = found["draws"]["z"], pair.family(pair.theta["a"], plate=False)
    assert z.shape == (30, *prior.event_shape)
    assert prior.support.check(z).all()
    assert found["log_p"].isfinite().all()
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_non_centred_schools_are_within_the_errors_of_the_draws_and_centred_ones_have_a_heavy_tail():
    schools = data.load("eight_schools", dtype=torch.float64)
    x, given = schools.x, schools.given
    pair = MeanField()
    p, found = pair.posterior(x, given), pathfinder(pair, x, given, draws=1000, paths=20)
    of = summary_of(pair.coordinates(found["draws"]), found["ess"])
    assert ((of["mean"] - p.mean).abs() < 4 * of["mcse"]).all()
    assert found["k_hat"] < 0.7 < pathfinder(Centred(), x, given, draws=1000)["k_hat"]


def test_logistic_regression_is_within_the_errors_of_the_draws():
    dataset, pair = data.load("logistic", dtype=torch.float64), LogisticRegression()
    p, found = pair.posterior(dataset.x, dataset.given), pathfinder(pair, dataset.x, dataset.given, draws=2000)
    w = found["summary"]["w"]
    assert found["k_hat"] < 0.7
    assert ((w["mean"] - p.mean).abs() < 4 * w["mcse"]).all()
    assert (found["elbo"] < p.log_evidence).all()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("vae", "VAE has latents of single data points only, and Pathfinder is for one that all share. Use NUTS."),
        ("factor_analysis", "latents of single data points only"),
        ("gaussian_mixture", "no continuous latent"),
        ("autoencoder", "flat"),
    ],
)
def test_pathfinder_refuses(model, message):
    with pytest.raises(InferenceError, match=message):
        pathfinder(build(model), *arguments(model, torch.float64))


@pytest.mark.parametrize(("number", "value"), [("draws", 24), ("paths", 0), ("seed", -1)])
def test_numbers_out_of_range_are_refused(number, value):
    pair, x, given = regression(1)
    with pytest.raises(InferenceError, match=number):
        pathfinder(pair, x, given, **{number: value})


def test_no_coordinates_and_more_than_a_full_matrix_holds_are_refused():
    with pytest.raises(InferenceError, match="0 coordinates; expected 1 to 1000"):
        pathfinder(Small("Unit", "global"), torch.randn(6, 2))
    pair, x, given = regression(1000)
    with pytest.raises(InferenceError, match="1001 coordinates; expected 1 to 1000"):
        pathfinder(pair, x, given)
