"""A wrong answer is named by its exercise, with the value, the exact value, and what to check; a solution holds."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from course import names, solution, verdict
from torch import nn

from gallery.course import LESSONS, lesson
from gallery.course.grade import exercises_of, grade


class InThePlate(nn.Module):
    def __init__(self):
        super().__init__()
        self.q = nn.ParameterDict({"a": nn.Parameter(torch.zeros(6))})

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            p = pyro.sample("p", dist.Dirichlet(x.new_ones(6)))
            pyro.sample("x", dist.OneHotCategorical(p), obs=x)

    def guide(self, x, total=None):
        pyro.module("q", self.q)
        pyro.sample("p", dist.Dirichlet(self.q["a"].exp()))


class Unregistered(InThePlate):
    def model(self, x, total=None):
        p = pyro.sample("p", dist.Dirichlet(x.new_ones(6)))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("x", dist.OneHotCategorical(p), obs=x)

    def guide(self, x, total=None):
        pyro.sample("p", dist.Dirichlet(self.q["a"].exp()))


class Halves(Unregistered):
    def model(self, x, total=None):
        p = pyro.sample("p", dist.Dirichlet(x.new_ones(6) / 2))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("x", dist.OneHotCategorical(p), obs=x)


def with_coefficient(counts):
    return torch.lgamma(1 + counts.sum()) - torch.lgamma(1 + counts).sum()


def precision(S):
    return torch.linalg.inv(S)


def sse(w, x, c):
    return (x - w[0] - w[1] * c).square().sum()


def posterior_4(x, t, log_mass=None):
    z = names(4)["z"]
    log_joint = -0.5 * z**2 - 0.5 * ((x - z**2) / t) ** 2
    return log_joint - (torch.trapezoid(log_joint.exp(), z).log() if log_mass is None else log_mass)


def unnormalised(x):
    return posterior_4(x, 0.5, 0)


def by_rows(x, weights, means, scales, dim):
    log_joint = weights.log() + dist.Normal(means, scales).log_prob(x.unsqueeze(1)).sum(-1)
    return log_joint.logsumexp(1), log_joint.softmax(dim)


def underflowing(x, weights, means, scales):
    joint = weights * dist.Normal(means, scales).log_prob(x.unsqueeze(1)).sum(-1).exp()
    return joint.sum(1).log(), joint / joint.sum(1, keepdim=True)


def variances(x, r):
    weights, means, scales = names(5)["m_step"](x, r)
    return weights, means, scales**2


class NotEnumerated(nn.Module):
    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            y = pyro.sample("y", dist.Categorical(x.new_ones(3)))
            pyro.sample("x", dist.Normal(y.unsqueeze(-1) + x.new_zeros(2), 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        pass


def small_vae(**methods):
    """Build the VAE of the solution with other methods."""
    return type("SmallVAE", (names(8)["SmallVAE"],), methods)()


def log_variance_guide(self, x, total=None):
    pyro.module("encoder", self.encoder)
    with pyro.plate("data", total or len(x), subsample_size=len(x)):
        mean, log_variance = self.encoder(x).chunk(2, -1)
        pyro.sample("z", dist.Normal(mean, (log_variance / 2).exp()).to_event(1))


def model_of_probabilities(self, x, total=None):
    pyro.module("decoder", self.decoder)
    with pyro.plate("data", total or len(x), subsample_size=len(x)):
        zero = x.new_zeros(len(x), 4)
        z = pyro.sample("z", dist.Normal(zero, zero + 1).to_event(1))
        pyro.sample("x", dist.Bernoulli(logits=self.decoder(z).sigmoid()).to_event(1), obs=x)


def expected_counts(theta, x, beta):
    return (theta.unsqueeze(1) * beta / (theta @ beta)) @ x


def expected_shares(theta, x, beta, alpha):
    counts = alpha + expected_counts(theta, x, beta)
    return counts / counts.sum()


def draw_given_expected_counts(theta, x, beta, alpha):
    return dist.Dirichlet(alpha + expected_counts(theta, x, beta)).sample()


WRONG = [
    (1, 1, {"Die": InThePlate}, "inside the plate, expected outside"),
    (1, 1, {"Die": Unregistered}, "the clause 'registered' of the contract is broken"),
    (1, 1, {"Die": Halves}, "log p(p) of the model is"),
    (1, 2, {"posterior": lambda counts: counts}, "the concentration of the posterior[0] is 1, expected 2"),
    (1, 3, {"log_evidence": with_coefficient}, "log p(x) of seven throws is"),
    (1, 3, {"log_evidence": lambda counts: counts.sum() * -math.log(6)}, "is -12.5423, expected -13.8134"),
    (1, 4, {"probability_of_six": lambda counts: counts[5] / counts.sum()}, "is 0.285714, expected 0.230769"),
    (2, 1, {"posterior": lambda x, c: (x[:2], torch.eye(2))}, "the covariance matrix[0, 0] is 1, expected"),
    (2, 2, {"negative_elbo_of_a_point": sse}, "minus the ELBO at w = [0.0, 0.0] for six points"),
    (2, 3, {"mean_field_variances": lambda S: S.diagonal()}, "the variance[0] is 2, expected 0.840909"),
    (2, 3, {"mean_field_variances": lambda S: precision(S).diagonal()}, "not of the covariance"),
    (2, 4, {"mean_field_gap": lambda S: 0.5 * (S.diagonal().log().sum() - torch.logdet(S)) / 2}, "the gap is"),
    (3, 1, {"log_joint": lambda x, z: -z - 0.5 * (x - z) ** 2}, "is -2, expected -2.91894"),
    (3, 2, {"elbo": lambda rate, x: rate * 0 + x}, "above the log evidence"),
    (3, 2, {"elbo": lambda rate, x: rate * 0 - 9 + x}, "expected -1.91894 (exact by quadrature): the entropy"),
    (3, 3, {"best_rate": lambda x: 1 / x}, "the best rate at x = -1 is -1, expected 2.73205"),
    (3, 4, {"gap": lambda rate, x: -0.246185 * rate}, "the gap at rate 1, x = 2 is -0.246185, expected 0.246185"),
    (4, 1, {"log_posterior": unnormalised}, "the integral of the posterior at x = 0.5 is"),
    (4, 1, {"log_posterior": lambda x: posterior_4(x, 0.25)}, "a standard deviation"),
    (4, 2, {"kls": lambda q, p: names(4)["kls"](p, q)}, "KL(q || p) of Normal(0.5, 1) and Normal(0, 0.8) is"),
    (
        4,
        2,
        {"kls": lambda q, p: names(4)["kls"](q, p)[0]},
        "the answer is 'Tensor', expected 2: KL(q || p), KL(p || q)",
    ),
    (4, 3, {"forward_fit": lambda x: (x**0.5, 0.1)}, "the mean at x = 0.5 is 0.707107, expected 0 (by symmetry)"),
    (4, 4, {"least_reverse_kl": 2.873}, "the least KL(q || p) is 2.873, expected 0.69375"),
    (5, 1, {"inferred": lambda x, w, m, s: by_rows(x, w, m, s, 0)}, "the responsibility[0, 0] is"),
    (5, 1, {"inferred": underflowing}, "log p(x) of a far point[0] is -inf"),
    (5, 2, {"m_step": lambda x, r: (r.sum(0), *names(5)["m_step"](x, r)[1:])}, "the weight[0] is"),
    (5, 2, {"m_step": lambda x, r: (r, x)}, "the answer has 2 parts, expected 3: weights, means, scales"),
    (5, 2, {"m_step": variances}, "the scale[0, 0] is"),
    (5, 3, {"em": lambda *a: (*names(5)["em"](*a)[:3], [0.0] * 4)}, "mean log p(x) at step[0] is 0"),
    (5, 4, {"Mixture": NotEnumerated}, "the model has no site y that is enumerated"),
    (6, 1, {"posterior": lambda W, sigma: names(6)["posterior"](W, sigma**0.5)}, "S*[0, 0] is"),
    (6, 1, {"posterior": lambda W, sigma: W}, "the answer is 'Tensor', expected 2: the matrix V*, the covariance S*"),
    (6, 2, {"m_step": lambda x, V, S: names(6)["m_step"](x, V, 0 * S)}, "W[0, 0] is"),
    (6, 3, {"parameters": lambda n, k, d: (n * k, k * d + k)}, "is 2000, expected 4000"),
    (6, 3, {"parameters": lambda n, k, d: (2 * n * k, n * k * d)}, "it does not depend on n"),
    (6, 4, {"elbo": lambda x, W, s, V, S: names(6)["elbo"](x, W, s, V, S) + 1}, "the ELBO of data point[0] is"),
    (7, 1, {"score": lambda m, s, x, e: names(7)["score"](m, s, x, e) * s}, "score function estimate"),
    (
        7,
        2,
        {"reparametrised": lambda m, s, x, e: names(7)["path"](m, s, x, e)},
        "does not depend on m",
    ),
    (7, 2, {"reparametrised": lambda m, s, x, e: x - (m + s * e)}, "the mean of the reparametrised estimate"),
    (7, 3, {"closed_kl": lambda m, s, x, e: x - m - s * e}, "the mean of the estimate with the closed KL"),
    (7, 4, {"path": lambda m, s, x, e: x - 2 * (m + s * e)}, "it is 0 at every noise value"),
    (8, 1, {"loss_of_a_code": lambda x, mean, sigma: ((x - mean) ** 2).sum(1)}, "add the constant D times"),
    (8, 1, {"loss_of_a_code": lambda *a: names(8)["loss_of_a_code"](*a).sum()}, "has shape (), expected (2,)"),
    (8, 2, {"linear_error": lambda x, k: names(8)["linear_error"](x, x.shape[1] - k)}, "the error with 1 numbers per"),
    (8, 3, {"kl": lambda mean, scale: names(8)["kl"](mean, scale) + 1.5}, "the KL of data point[0] is"),
    (8, 3, {"kl": lambda mean, scale: names(8)["kl"](mean, scale**2)}, "log of the variance is 2 log scale"),
    (8, 4, {"SmallVAE": lambda: small_vae(guide=log_variance_guide)}, "log q(z | x) of data point[0] is"),
    (
        8,
        4,
        {"SmallVAE": lambda: small_vae(model=model_of_probabilities)},
        "the decoder returns logits, not probabilities",
    ),
    (8, 5, {"bits_per_pixel": lambda elbo, pixels: -elbo / pixels}, "is 0.28125, expected 0.405758"),
    (9, 1, {"best_loading": lambda v, sigma, beta: max(0.0, v - beta * sigma**2)}, "is 3, expected 1.73205"),
    (9, 1, {"best_loading": lambda v, sigma, beta: max(0.0, v - sigma**2) ** 0.5}, "sigma 1.5, beta 1.5 is"),
    (
        9,
        2,
        {"free_bits": lambda kl, nats: kl.clamp(min=nats).mean(0).sum()},
        "average over data points before the maximum",
    ),
    (9, 3, {"gaps": lambda x, a, s: names(9)["gaps"](x, a, s)[::-1]}, "the approximation gap at a = 0.5, s = 1 is 0"),
    (9, 4, {"effective_sample_size": lambda w: w.exp().sum() ** 2 / (2 * w).exp().sum()}, "exp overflows"),
    (9, 4, {"effective_sample_size": lambda w: w.logsumexp(0)}, "the effective size of weights 1, 2, 0.5, 3 is"),
    (9, 5, {"mass": lambda p: (2 * p - 1) / (p.log() - (1 - p).log())}, "[1] is nan, expected 0.5"),
    (10, 1, {"enumerated_elbo": lambda log_q, w: (log_q.exp() * w).sum(1)}, "the entropy of q counts"),
    (10, 1, {"enumerated_elbo": lambda log_q, w: w.logsumexp(1)}, "the bound of data point[0] is"),
    (10, 2, {"forward": lambda a, b, c: names(10)["forward"](a, b.T, c)}, "by the sum over all 8 paths"),
    (10, 2, {"forward": lambda a, b, c: names(10)["forward"](a.exp(), b, c)}, "log p(x) of three steps is"),
    (10, 3, {"importance_bound": lambda w, K: w.mean()}, "IWAE-2 of six weights is"),
    (10, 3, {"importance_bound": lambda w, K: w.reshape(-1, K).logsumexp(1).mean()}, "subtract log K"),
    (10, 4, {"ranks": lambda sample, n, L: (sample(torch.randn(n), L) < torch.randn(n)).sum(0)}, "of the rank under"),
    (10, 4, {"ranks": lambda *a: a[2] - names(10)["ranks"](*a)}, "where all samples are below z"),
    (10, 4, {"ranks": lambda *a: names(10)["ranks"](*a)[:5]}, "the ranks have shape (5,)"),
    (10, 5, {"sweep": lambda theta, x, beta, alpha: dist.Dirichlet(alpha + x[:2]).sample()}, "mean of the first share"),
    (10, 5, {"sweep": lambda *a: expected_shares(*a)}, "draw the topics and then the shares"),
    (10, 5, {"sweep": lambda *a: draw_given_expected_counts(*a)}, "draw the topics and then the shares"),
    (10, 5, {"sweep": lambda *a: names(10)["sweep"](*a[:-1], 1e-3)}, "mean of the first share"),
    (10, 5, {"sweep": lambda *a: names(10)["sweep"](*a).flip(0)}, "mean of the first share"),
    (10, 5, {"sweep": lambda theta, *a: theta * 2}, "expected 2 numbers that add up to 1"),
]


IDS = [f"{number}.{exercise}-{i}" for i, (number, exercise, _, _) in enumerate(WRONG)]


@pytest.mark.parametrize(("number", "exercise", "answer", "words"), WRONG, ids=IDS)
def test_the_right_exercise_is_named(number, exercise, answer, words):
    result = verdict(number, exercise, **answer)
    assert (result.number, result.verdict) == (exercise, "wrong")
    assert words in result.words


@pytest.mark.parametrize("number", LESSONS)
def test_every_lesson_has_three_wrong_answers(number):
    assert sum(it[0] == number for it in WRONG) >= 3


@pytest.mark.parametrize("number", LESSONS)
def test_the_solution_holds(number):
    assert [str(it) for it in grade(solution(number), number) if it.verdict != "holds"] == []


@pytest.mark.parametrize("number", LESSONS)
def test_exercises_are_numbered_as_in_the_lesson(number):
    text = "\n".join(cell.source for cell in lesson(number).cells)
    for n, check in exercises_of(number).items():
        assert f"\n## Exercise {n}: " in text
        assert f"# exercise {n}: " in text
        assert check.__doc__
    assert 3 <= len(exercises_of(number)) <= 5
    assert f"## Exercise {len(exercises_of(number)) + 1}" not in text
