"""Each number and identity in the text of the lessons 1 to 4, computed."""

import math

import pyro.distributions as dist
import pytest
import torch
from course import names, states
from torch.distributions import Normal, kl_divergence

import data
from gallery.course.checks import lesson_04
from gallery.models.exponential_gaussian import ExponentialGaussian
from gallery.models.factor_analysis import FactorAnalysis
from gallery.models.linear_regression import LinearRegression
from gallery.models.loaded_die import LoadedDie

DOUBLE = torch.float64


def test_die():
    states(1, "$6^{-7}$, which is $-12.54$", "$-13.81$ nats", "$2/7$", "$3/13$")
    counts = names(1)["counts"]
    assert counts.tolist() == [1, 0, 2, 1, 1, 2]
    assert 7 * math.log(1 / 6) == pytest.approx(-12.54, abs=0.005)
    assert names(1)["log_evidence"](counts).item() == pytest.approx(-13.81, abs=0.005)
    assert names(1)["probability_of_six"](counts).item() == pytest.approx(3 / 13)


def test_a_die_for_each_throw_teaches_nothing():
    states(1, "each face then has evidence $1/6$")
    for face in range(6):
        assert LoadedDie().log_evidence(torch.eye(6)[[face]]).exp().item() == pytest.approx(1 / 6)


def test_hidden_factors_need_fewer_parameters():
    states(1, "784 pixels has 307,720", "20 hidden factors, 16,464")
    assert torch.ones(784, 784).tril().count_nonzero() == 307_720
    pair = FactorAnalysis(data_dim=784, latent_dim=20)
    assert sum(p.numel() for p in pair.theta.parameters()) == 16_464


@pytest.mark.parametrize("distance", [1.99, 2.01])
def test_two_normals_have_two_peaks_if_they_are_far_apart(distance):
    states(1, "if their means are more than two standard deviations apart")
    x = torch.linspace(-2, 2, 2001, dtype=DOUBLE)
    density = Normal(-distance / 2, 1.0).log_prob(x).exp() + Normal(distance / 2, 1.0).log_prob(x).exp()
    assert (density[1000] < density.max()) == (distance > 2)  # the middle is a valley, or the peak


@pytest.fixture(scope="module")
def line():
    train = data.load("line")
    pair, x, c = LinearRegression().double(), train.x.double(), train.given.double()
    return pair, x, c, pair.posterior(x, c)


def test_least_squares_is_map(line):
    states(2, "0.3856 and 1.5411")
    pair, x, c, exact = line
    expected = torch.tensor([0.3856, 1.5411], dtype=DOUBLE)
    assert torch.allclose(pair.least_squares(x, c), expected, atol=5e-5)
    assert torch.allclose(exact.mean, expected, atol=5e-5)


def test_the_price_of_independent_coordinates(line):
    states(2, "$\\rho = -0.85$", "a factor of 3.5", "0.630$ nats", "0.00315", "a factor of 1.88")
    S = line[3].covariance_matrix
    rho = (S[0, 1] / (S[0, 0] * S[1, 1]).sqrt()).item()
    assert rho == pytest.approx(-0.85, abs=0.005)
    assert 1 / (1 - rho**2) == pytest.approx(3.5, abs=0.05)
    assert (1 - rho**2) ** -0.5 == pytest.approx(1.88, abs=0.005)
    gap = -0.5 * math.log(1 - rho**2)
    assert gap == pytest.approx(0.630, abs=5e-4)
    assert gap / 200 == pytest.approx(0.00315, abs=5e-6)
    assert names(2)["mean_field_gap"](S).item() == pytest.approx(gap, rel=1e-9)
    variances = names(2)["mean_field_variances"](S)
    assert torch.allclose(variances, (1 - rho**2) * S.diagonal())


def test_the_mean_field_line_errs_both_ways(line):
    states(2, "at $c = 0$, by half", "not sure enough at $c = 2.5$")
    S = line[3].covariance_matrix
    D = names(2)["mean_field_variances"](S).diag()
    at = {c: torch.tensor([1.0, c], dtype=DOUBLE) for c in (0.0, 2.5)}
    ratio = {c: (d @ D @ d / (d @ S @ d)).sqrt().item() for c, d in at.items()}
    assert ratio[0.0] == pytest.approx(0.5, abs=0.05)
    assert ratio[2.5] > 1.2


def test_centred_covariates_need_no_correlation(line):
    pair, x, c, _ = line
    S = pair.posterior(x, c - c.mean()).covariance_matrix
    assert names(2)["mean_field_gap"](S).item() < 1e-9


def test_the_exponential_guide():
    states(3, "$-1.6728$", "$-1.9189$", "0.2462 nats", "At $x = 2$ it is $\\lambda = 1$")
    x = torch.tensor(2.0, dtype=DOUBLE)
    rate = names(3)["best_rate"](x)
    assert rate.item() == 1
    assert names(3)["elbo"](rate, x).item() == pytest.approx(-1.9189, abs=5e-5)
    assert ExponentialGaussian().log_evidence(x.reshape(1, 1)).item() == pytest.approx(-1.6728, abs=5e-5)
    assert names(3)["gap"](rate, x).item() == pytest.approx(0.2462, abs=5e-5)


def test_elbo_is_evidence_minus_kl():
    """The second derivation, with the KL by quadrature; Jensen's inequality at every rate."""
    x, z = torch.tensor(0.7, dtype=DOUBLE), torch.linspace(0, 60, 600_001, dtype=DOUBLE)
    posterior = ExponentialGaussian().posterior(x.reshape(1, 1))
    for rate in torch.tensor([0.5, 1.0, 3.0], dtype=DOUBLE):
        q = dist.Exponential(rate)
        kl = torch.trapezoid(q.log_prob(z).exp() * (q.log_prob(z) - posterior.log_prob(z)), z)
        evidence = ExponentialGaussian().log_evidence(x.reshape(1, 1))[0]
        assert names(3)["elbo"](rate, x).item() == pytest.approx((evidence - kl).item(), abs=1e-6)
        assert names(3)["elbo"](rate, x) < evidence


def test_the_posterior_alone_has_constant_weights():
    x, z = torch.tensor(0.7, dtype=DOUBLE), torch.linspace(0.1, 5, 50, dtype=DOUBLE)
    weights = names(3)["log_joint"](x, z) - ExponentialGaussian().posterior(x.reshape(1, 1)).log_prob(z)
    assert weights.std() < 1e-12
    q = dist.Exponential(torch.tensor(1.0, dtype=DOUBLE))
    assert (names(3)["log_joint"](x, z) - q.log_prob(z)).std() > 0.1


def test_a_variation_of_the_guide_changes_the_elbo_to_first_order():
    """By the integral of h (log p - log q): 0 for every h at the posterior, and not at another density."""
    states(3, "\\epsilon \\int h(z) \\left[ \\log p(x, z) - \\log q(z) \\right] dz")
    x, z = torch.tensor(0.7, dtype=DOUBLE), torch.linspace(0, 12, 2401, dtype=DOUBLE)
    width, log_p = z[1] - z[0], names(3)["log_joint"](x, z)
    posterior = log_p.softmax(0) / width  # on the grid
    torch.manual_seed(0)
    for q, is_posterior in ((posterior, True), ((-z).softmax(0) / width, False)):
        h = torch.randn(4, len(z), dtype=DOUBLE) * q
        h = h - h.sum(1, keepdim=True) * q * width  # of integral 0, and 0 where q is
        q = q.clone().requires_grad_()
        (slope,) = torch.autograd.grad((q * (log_p - q.log())).sum() * width, q)
        exact = (h * (log_p - q.detach().log())).sum(1) * width
        assert torch.allclose((h * slope).sum(1), exact, atol=1e-12)
        assert (exact.abs().max() < 1e-12) == is_posterior


def test_the_kl_of_normals_is_the_formula_of_lesson_2():
    S = torch.tensor([[1.0, 0.6], [0.6, 2.0]], dtype=DOUBLE)
    D = torch.tensor([[0.5, 0.0], [0.0, 0.8]], dtype=DOUBLE)
    zero = torch.zeros(2, dtype=DOUBLE)
    kl = kl_divergence(dist.MultivariateNormal(zero, D), dist.MultivariateNormal(zero, S))
    formula = 0.5 * (torch.trace(torch.linalg.solve(S, D)) - 2 + torch.logdet(S) - torch.logdet(D))
    assert kl.item() == pytest.approx(formula.item(), rel=1e-12)


def test_forward_and_reverse():
    states(
        4, "26 % of its mass", "less than $10^{-50}$", "2.976 with standard deviation 0.084", "the price is $\\log 2$"
    )
    z, log_p = names(4)["z"], names(4)["log_posterior"](9.0)
    mean, scale = names(4)["forward_fit"](9.0)
    middle = z.abs() <= 1
    forward = names(4)["log_normal"](mean, scale.item()).exp()
    assert torch.trapezoid(forward[middle], z[middle]).item() == pytest.approx(0.26, abs=0.005)
    assert torch.trapezoid(log_p.exp()[middle], z[middle]).item() < 1e-50
    best, at = least_reverse(9.0, 3.0)
    assert at == (pytest.approx(2.976, abs=5e-4), pytest.approx(0.084, abs=5e-4))
    assert best == pytest.approx(lesson_04.LEAST, abs=2e-5)
    assert best == pytest.approx(math.log(2), abs=1e-3)


def least_reverse(x, start):
    """The least KL(q || p) of a normal from a start, with its mean and scale, by L-BFGS on a grid of noise."""
    posterior = lesson_04.posterior(x)
    mean, log_scale = (torch.tensor(value, dtype=DOUBLE, requires_grad=True) for value in (start, -1.0))
    eps = torch.linspace(-7, 7, 281, dtype=DOUBLE)
    weight = (-0.5 * eps**2).exp() / (-0.5 * eps**2).exp().sum()
    optimiser = torch.optim.LBFGS([mean, log_scale], max_iter=60, line_search_fn="strong_wolfe")

    def kl():
        optimiser.zero_grad()
        log_q = -0.5 * eps**2 - 0.5 * math.log(2 * math.pi) - log_scale
        loss = (weight * (log_q - posterior.log_prob(mean + log_scale.exp() * eps))).sum()
        loss.backward()
        return loss

    optimiser.step(kl)
    return kl().item(), (mean.item(), log_scale.exp().item())


def test_a_mixture_holds_both_peaks():
    states(4, "KL is 0.0006")
    log_normal = names(4)["log_normal"]
    twins = torch.stack([log_normal(sign * 2.976, 0.084) for sign in (1, -1)])
    mixture = torch.logsumexp(twins, 0) - math.log(2)
    reverse, _ = names(4)["kls"](mixture, names(4)["log_posterior"](9.0))
    assert reverse.item() == pytest.approx(0.0006, abs=5e-5)
    assert reverse.item() == pytest.approx(lesson_04.LEAST - math.log(2), abs=5e-5)


def test_merged_peaks_are_covered():
    states(4, "$x = 0.5$ the peaks have merged, and the best normal lies across both")
    across, (mean, _) = least_reverse(0.5, 0.7)
    assert abs(mean) < 1e-3
    assert across < math.log(2) / 2


def test_forward_kl_is_least_at_the_moments():
    mean, scale = (value.item() for value in names(4)["forward_fit"](2.0))
    log_p = names(4)["log_posterior"](2.0)
    kls, log_normal = names(4)["kls"], names(4)["log_normal"]
    least = kls(log_normal(mean, scale), log_p)[1]
    assert all(
        kls(log_normal(mean + a, scale * b), log_p)[1] > least for a, b in ((0.1, 1), (-0.1, 1), (0, 1.1), (0, 0.9))
    )
