"""Every number in an answer of an exercise is computed here, by another way than the answer's where there is one."""

import json
import math
from fractions import Fraction

import pytest
import torch
from cases import arguments, local_level
from exercises import OF_CODES, check_answers, close, least
from torch import tensor
from torch.distributions import Exponential, MultivariateNormal, Normal, kl_divergence
from torch.special import log_ndtr, ndtr

import data
from data.synthetic import NILE_FLOW, SCHOOLS_EFFECT, SCHOOLS_ERROR
from gallery.catalogue.entries import NAMES, entry
from gallery.ledger.experiment_tables import EXPERIMENTS_FOLDER
from gallery.models._distributions import Softmax
from gallery.models._kalman import filter_forward, smooth
from gallery.models._words import Words
from gallery.models.eight_schools import EightSchools
from gallery.models.exponential_gaussian import ExponentialGaussian
from gallery.models.gaussian_mixture import GaussianMixture
from gallery.models.hmm import HMM
from gallery.models.item_response import ItemResponse
from gallery.models.linear_regression import LinearRegression
from gallery.models.loaded_die import LoadedDie
from gallery.models.logistic_regression import LogisticRegression
from gallery.models.prod_lda import ProdLDA
from gallery.models.squared_gaussian import SquaredGaussian
from inference.evaluation.perplexity import half_of_words
from inference.fit.converged import FACTOR

LOG_10 = math.log(10)


pytestmark = pytest.mark.usefixtures("double")


# Each yields (number of the exercise, text of its answer); other statements are asserted.


def exponential_gaussian():
    pair = ExponentialGaussian()
    yield 0, f"{pair.log_evidence(tensor([[1.5]])).item():.4f}"
    z = torch.linspace(1e-9, 60, 600_001)
    log_joint = -z + Normal(z, 1.0).log_prob(tensor(1.0))

    def gap(m):
        log_q = Exponential(1 / tensor(m)).log_prob(z)
        return (pair.log_evidence(tensor([[1.0]])) - torch.trapezoid(log_q.exp() * (log_joint - log_q), z)).item()

    yield 1, f"{least(gap, 0.5**0.5):.4f}"


def squared_gaussian():
    def derivative(z, x, order):
        z = tensor(z, requires_grad=True)
        value = SquaredGaussian().posterior(tensor([[x]])).log_prob(z).sum()
        for _ in range(order):
            (value,) = torch.autograd.grad(value, z, create_graph=True)
        return value.item()

    assert derivative(0.0, 0.12, 2) < 0 < derivative(0.0, 0.13, 2)  # from one hump to two
    yield 0, f"is {Fraction(0.125)}"
    z = torch.linspace(-8, 8, 100_001)
    log_r = Normal(3.0, 0.3).log_prob(z)
    log_p = torch.stack([log_r, Normal(-3.0, 0.3).log_prob(z)]).logsumexp(0) - math.log(2)
    yield 1, f"{torch.trapezoid(log_r.exp() * (log_r - log_p), z).item():.4f}"
    yield 1, f"{SquaredGaussian().posterior(tensor([[4.0]])).variance.sqrt().item():.3f}"
    mode = math.sqrt(31 / 8)
    close(derivative(mode, 4.0, 1), 0.0)
    away = mode * math.sqrt(-derivative(mode, 4.0, 2))
    yield 2, f"{away:.1f}"
    assert ndtr(tensor(-away)) < 1e-53


def linear_regression():
    x, given = arguments("linear_regression", torch.float64)
    pair = LinearRegression(given_dim=2)
    C, ridge = pair.design(given), pair.noise**2 / pair.prior_scale**2
    close(pair.posterior(x, given).mean, torch.linalg.solve(C.T @ C + ridge * torch.eye(3), C.T @ x).squeeze(1))
    yield 0, f"{ridge:.4f}"
    c = torch.linspace(0, 5, 10_001).unsqueeze(1)
    wide = LinearRegression(prior_scale=1e4)
    p = wide.posterior(torch.zeros_like(c), c)
    q = MultivariateNormal(p.mean, p.precision_matrix.diagonal().reciprocal().diag())
    close(q.stddev / p.stddev, tensor([0.5, 0.5]), 1e-3)
    yield 1, f"{kl_divergence(q, p).item():.4f}"
    scaled = LinearRegression(prior_scale=1e4, noise=wide.noise * math.sqrt(200 / 20)).posterior(torch.zeros_like(c), c)
    yield 2, f"{(scaled.stddev / p.stddev).mean().item():.2f}"
    left = {}
    for kappa in (1, 0.5, 0.1):
        before, after = ((0.1 * FACTOR**i) ** kappa for i in (2, 3))  # distances at two rates, one after the other
        left[kappa] = after / (before - after)
    close([left[1], left[0.5]], [1 / 3, 1.0])
    yield 3, f"{left[0.1]:.2f} $\\Delta$"


def logistic_regression():
    pair, a = LogisticRegression(), torch.linspace(-80, 80, 200_001)
    C, w = pair.design(torch.randn(9, 1)), torch.randn(2)
    density = pair.posterior(torch.randint(2, (9, 1)).double(), C[:, 1:])
    p = (C @ w).sigmoid()
    second = -(C.T * (p * (1 - p))) @ C - torch.eye(2) / pair.prior_scale**2
    close(torch.autograd.functional.hessian(density.log_prob, w), second)

    def mean(f, q):
        return torch.trapezoid(q.log_prob(a).exp() * f, a).item()

    yield 1, f"{math.log(9):.3f}"
    extreme = 1 - mean(((a.sigmoid() > 0.1) & (a.sigmoid() < 0.9)).double(), Normal(0.0, pair.prior_scale))
    yield 1, f"{extreme:.3f}"
    ones, zeros = torch.ones(2, 1), torch.zeros(2, 1)
    again = pair.log_evidence(ones, zeros) - pair.log_evidence(ones[:1], zeros[:1])
    yield 1, f"{again.exp().item():.3f}"
    yield 2, f"{tensor(2.0).sigmoid().item():.3f}"
    yield 2, f"{mean(a.sigmoid(), Normal(2.0, 2.0)):.3f}"
    yield 2, f"{tensor(2 / math.sqrt(1 + math.pi / 2)).sigmoid().item():.3f}"


def eight_schools():
    x, c = (torch.from_numpy(values) for values in (SCHOOLS_EFFECT, SCHOOLS_ERROR))
    p = EightSchools().posterior(x.unsqueeze(1), c.unsqueeze(1))
    weighted = (x / c**2).sum() / (1 / c**2).sum()
    at_zero, far = (effect for effect in p.given_tau(tensor([0.0, 1e8])).effect)
    close(far, x)
    close(at_zero, ((x / c**2).sum() / (1 / 25 + (1 / c**2).sum())).expand(8))
    yield 0, f"{at_zero[0].item():.2f}"
    yield 0, f"{weighted.item():.2f}"
    s, log_tau = 1.0, torch.linspace(-15, 15, 100_001)
    inverse = torch.trapezoid(Normal(0.0, s).log_prob(log_tau).exp() * (-2 * log_tau).exp(), log_tau)
    yield 1, f"{inverse.item():.3f}"
    exceeds = ndtr((p.known.effect[:, 0] - x[0]) / p.known.effect_sd[:, 0])
    yield 2, f"{(p.probs @ exceeds).item():.4f}"

    z = tensor([1e3, 1e3 + 1])

    def shape(s):  # of the tail: minus the slope of log w over that of its log P
        log_w = Normal(0.0, 1.0).log_prob(z) - Normal(0.0, s).log_prob(z)
        return -(log_w.diff() / log_ndtr(-z / s).diff()).item()

    for k, words in ((0.7, "below {:.3f}"), (0.5, "up to {:.3f}")):
        s = math.sqrt(1 - k)
        close(shape(s), k, 1e-5)
        yield 3, words.format(s)


def item_response():
    a = tensor([0.8257, 0.7227, 0.8909, 0.6884, 0.6569])  # as published
    patterns = torch.cartesian_prod(*[tensor([0.0, 1.0])] * 5)
    yield 0, f"have {len((patterns @ a).round(decimals=4).unique())} weighted sums"
    yield 0, f"and {len(patterns.sum(1).unique())} plain ones"
    logits = torch.linspace(-4, 4, 801)
    information = a.max() ** 2 * logits.sigmoid() * (1 - logits.sigmoid())
    close(logits[information.argmax()], 0.0)
    yield 1, f"{information.max().item():.3f}"
    needed = (2**2 - 1) / information.max().item()
    yield 1, f"{needed:.1f}, at least {math.ceil(needed)} items"
    z = tensor(0.0, requires_grad=True)
    (first,) = torch.autograd.grad(torch.nn.functional.logsigmoid(z), z, create_graph=True)
    (second,) = torch.autograd.grad(first, z)
    close(first, 0.5)
    close(-second, 0.25)
    pair = ItemResponse(3)
    close(pair.phi["w"][1], torch.full((3,), 0.5))
    close(pair.phi["log_t"].exp(), torch.full((2, 3), 0.25))


def loaded_die():
    pair, face = LoadedDie(), torch.eye(6)[:1]
    again = (pair.log_evidence(face.expand(2, -1)) - pair.log_evidence(face)).exp().item()
    yield 0, f"the probability is {Fraction(again).limit_denominator(100)}"
    eta = torch.randn(5)
    p = Softmax()(eta)
    jacobian = torch.autograd.functional.jacobian(lambda eta: Softmax()(eta)[:-1], eta)
    close(jacobian.det().abs(), p.prod())
    for n in (200, 2500):
        throws = torch.cat([torch.eye(6)[5:].expand(n // 2, -1), torch.eye(6)[:5].repeat(n // 10, 1)])
        yield 2, f"{pair.posterior(throws).stddev[5].item():.3f} after {n:,}"


def gaussian_mixture():
    pair = GaussianMixture(data_dim=1, components=2)
    pair.load_state_dict(
        {
            "theta.logits": torch.zeros(2),
            "theta.mean": tensor([[1.0], [-1.0]]),
            "theta.pre_scale": torch.ones(2, 1).expm1().log(),
        }
    )
    yield 1, f"{pair.posterior(tensor([[0.5]])).probs[0, 0].item():.4f}"
    x = torch.randn(7, 1)
    (gradient,) = torch.autograd.grad(pair.log_evidence(x).sum(), pair.theta["mean"])
    r = pair.posterior(x).probs  # scales are 1
    close(gradient, (r.unsqueeze(2) * (x.unsqueeze(1) - pair.theta["mean"])).sum(0))
    before = pair.theta["mean"].clone()
    pair.m_step(pair.e_step(x))
    close(pair.theta["mean"], before + gradient / r.sum(0).unsqueeze(1))
    pair.m_step(pair.e_step(x[:1]))  # all on one data point
    close(torch.nn.functional.softplus(pair.theta["pre_scale"]), torch.full((2, 1), 1e-3))
    yield 2, "10^{-3}"


def hmm():
    pair, x = HMM(states=3), torch.randn(5, 10)
    yield 0, f"{3**10:,}"
    yield 0, f"= {9 * 3**2 + 3} terms"
    yield 1, f"{pair.expected_counts(x)[1].sum().item() / len(x):.0f} for 10 steps"
    with torch.no_grad():
        pair.theta["initial"].copy_(torch.randn(3))
        pair.theta["transition"].copy_(pair.theta["initial"].expand(3, 3))
    weights, every = pair.theta["initial"].log_softmax(0), torch.arange(3)
    mixture = (weights + pair.likelihood(every).log_prob(x.unsqueeze(2))).logsumexp(2).sum(1)
    close(pair.log_evidence(x), mixture)


def state_space():
    Q, R = 1469.1, 15099.0
    variance = (Q + math.sqrt(Q * Q + 4 * Q * R)) / 2
    pair, x = local_level(Q, R, 1e7), torch.tensor(NILE_FLOW).unsqueeze(0)
    _, _, of_filter = filter_forward(x, pair.matrices(pair.theta))
    close(of_filter[0, -1, 0, 0] / R, variance / (variance + R))  # the filtered variance is the gain times r^2
    yield 0, f"{variance / (variance + R):.4f}"
    yield 0, f"{pair.log_evidence(x).item():.4f} nats"
    x[0, 20:40] = torch.nan
    of = pair.matrices(pair.theta)
    (_, _, of_filter), (mean, of_smoother, _) = filter_forward(x, of), smooth(x, of)
    yield 1, f"{of_filter[0, 39].item() ** 0.5:.1f}, from {of_filter[0, 19].item() ** 0.5:.1f} in 1890"
    close(mean[0, 20:40].diff(n=2, dim=0), torch.zeros(18, 1))
    assert of_smoother.argmax() in (29, 30)
    yield 1, f"at {of_smoother.max().item() ** 0.5:.1f}"
    d = 2 / Q + 1 / R

    def gap(steps):
        off = torch.full((steps - 1,), -1 / Q).diag(1)
        precision = d * torch.eye(steps) + off + off.T
        return (steps * math.log(d) - precision.logdet().item()) / 2

    yield 2, f"{gap(201) - gap(200):.4f} nats a year"


def lda():
    beta, theta = tensor([[0.9, 0.1], [0.1, 0.9]]), torch.linspace(0, 1, 200_001)
    mixed = torch.stack([theta, 1 - theta], 1) @ beta
    document = tensor([[1.0, 1.0], [2.0, 0.0]])
    p = torch.trapezoid(Words(mixed.unsqueeze(1), 1).log_prob(document).exp(), theta, dim=0)  # the prior is uniform
    yield 0, f"0.9 \\cdot 0.1) + \\tfrac{{1}}{{6}}\\,(0.9^2 + 0.1^2)$ = {p[0].item():.4f}"
    yield 0, f"log p = {p[0].log().item():.4f}"
    yield 0, f"= {p[1].item():.4f}"
    share = [((0.5 + n) / (10 * 0.5 + n)) for n in (5, 100)]
    yield 1, f"(0.5 + N) / (5 + N)$: {share[0]:.3f} after 5 words, {share[1]:.3f} after 100"
    alpha = 0.5
    for index, words in ((0.5, alpha), (0.7, alpha / (1 - 0.7) - alpha)):
        close(1 - alpha / (alpha + words), index)
    yield 2, f"more than {alpha} words"
    yield 2, f"exceeds 0.7 from {alpha / (1 - 0.7) - alpha:.2f} words"
    yield from _gibbs()


def _gibbs():
    found = json.loads((EXPERIMENTS_FOLDER / "lda" / "gibbs.json").read_text())["perplexity"]
    both, draws = found["variational, smoothed"], found["Gibbs sampling"]["Gibbs sampling"]
    more, words = both["more than by Gibbs sampling"], half_of_words(data.load("topics", "test").x)[1].sum(1)
    numbers = ["{value:.3f} ± {se:.3f}".format(**of) for of in (both["coordinate ascent"], draws, more)]
    question = " ".join(entry("lda").exercises[3]["question"].split())
    assert "{} and {}, the difference document by document {}.".format(*numbers) in question
    nats = math.log(1 + more["value"] / draws["value"])
    assert words.unique().tolist() == [50]
    yield 3, f"{more['value'] / draws['value']:.2%}".replace("%", " %")
    yield 3, f"{nats:.4f} nats for a word and by {50 * nats:.2f} nats for 50"
    yield 3, f"{more['value'] / more['se']:.1f} standard errors"
    for of in (by["more than by Gibbs sampling"] for by in found.values()):  # the reading of the figure
        assert abs(of["value"]) < 2 * of["se"]
        assert of["value"] < 0.0025 * draws["value"]


def prod_lda():
    experts = tensor([[0.6, 0.3, 0.1], [0.1, 0.3, 0.6]])
    yield 0, "$\\sqrt{0.6 \\cdot 0.1}$, $\\sqrt{0.3 \\cdot 0.3}$ and $\\sqrt{0.1 \\cdot 0.6}$"
    for p in (experts.mean(0), experts.log().mean(0).softmax(0)):
        yield 0, "({:.3f}, {:.3f}, {:.3f})".format(*p.tolist())
    yield 1, f"$(1 - 1/K)/\\alpha$ = {ProdLDA(topics=10, alpha=0.5).scale ** 2:.2f}"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OF_CODES])
def test_answers_have_the_numbers_that_are_computed_and_no_others(name):
    check_answers(name, list(globals()[name]()))
