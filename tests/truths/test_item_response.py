"""Item response: published likelihoods, EM, the posterior of an ability, and items in a plate of their own."""

import copy
import itertools

import numpy as np
import pytest
import torch
from pyro import poutine
from torch.distributions import Bernoulli

import data
from gallery.models.item_response import Bayesian, ItemResponse, Rasch
from inference import SVI, Settings, em, eval_mode, evaluate, log_weights, reconstruct, sample
from inference.evaluation.reference import against_posterior

# as the R package ltm prints them: log likelihood, slopes, difficulties
PUBLISHED = {
    ItemResponse: (
        -2466.653,
        [0.8257, 0.7227, 0.8909, 0.6884, 0.6569],
        [-3.3588, -1.3701, -0.2797, -1.8664, -3.1259],
    ),
    Rasch: (-2466.938, 0.7551, [-3.6153, -1.3224, -0.3176, -1.7301, -2.7802]),
}
every = pytest.mark.parametrize("cls", PUBLISHED)


def lsat6():
    return data.load("lsat6", dtype=torch.float64).x


def published(cls):
    pair = cls().double()
    _, a, b = PUBLISHED[cls]
    with torch.no_grad():
        pair.theta["a"].copy_(torch.tensor(a))
        pair.theta["b"].copy_(torch.tensor(b))
    return pair


@every
def test_the_published_values_have_the_published_likelihood(cls):
    assert f"{published(cls).log_evidence(lsat6()).sum().item():.3f}" == f"{PUBLISHED[cls][0]:.3f}"


def test_evidence_is_the_integral_by_another_rule_and_sums_to_one():
    """Gauss and Hermite's rule with 100 nodes, in place of the trapezoidal rule."""
    pair = published(ItemResponse)
    patterns = torch.tensor(list(itertools.product((0.0, 1.0), repeat=5)), dtype=torch.float64)
    nodes, weights = (torch.from_numpy(values) for values in np.polynomial.hermite_e.hermegauss(100))
    p = (pair.theta["a"] * (nodes.unsqueeze(-1) - pair.theta["b"])).sigmoid().detach()
    likelihood = Bernoulli(p.unsqueeze(1)).log_prob(patterns).sum(-1).exp()  # (nodes, patterns)
    evidence = weights @ likelihood / weights.sum()
    torch.testing.assert_close(pair.log_evidence(patterns).exp(), evidence, rtol=1e-10, atol=0)
    torch.testing.assert_close(evidence.sum(), torch.ones_like(evidence[0]), rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def fitted():
    """The evidence along EM, and the pair at its end, by class."""
    pairs = {cls: cls().double() for cls in PUBLISHED}
    return {cls: (list(em(pair, lsat6(), iterations=100)), pair) for cls, pair in pairs.items()}


@every
def test_em_never_falls_and_ends_at_the_published_values(cls, fitted):
    bounds, pair = fitted[cls]
    assert all(after >= before - 1e-12 for before, after in itertools.pairwise(bounds))
    log_likelihood, a, b = PUBLISHED[cls]
    assert f"{1000 * bounds[-1]:.3f}" == f"{log_likelihood:.3f}"
    for name, values in (("a", a), ("b", b)):
        expected = torch.tensor(values, dtype=torch.float64)
        torch.testing.assert_close(pair.theta[name].detach(), expected, rtol=0, atol=1e-4)  # one unit of the last digit


def test_em_stands_where_the_evidence_has_no_gradient(fitted):
    _, pair = fitted[Rasch]
    gradients = torch.autograd.grad(pair.log_evidence(lsat6()).mean(), [pair.theta["a"], pair.theta["b"]])
    assert max(gradient.abs().max().item() for gradient in gradients) < 1e-8


def test_em_moves_an_item_that_all_answer_rightly_and_stays_finite():
    pair, x = ItemResponse(3).double(), torch.ones(6, 3, dtype=torch.float64)
    x[:3, 1:] = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    bounds = list(em(pair, x, iterations=20))
    assert all(after >= before - 1e-12 for before, after in itertools.pairwise(bounds))
    assert all(value.isfinite().all() for value in pair.theta.values())


def test_a_missing_answer_counts_as_neither():
    """Its evidence is the sum over both answers, and its person has the guide of the other answers."""
    pair, x = published(ItemResponse), torch.tensor([[1.0, 0.0, torch.nan, 1.0, 1.0]], dtype=torch.float64)
    both = torch.cat([x.nan_to_num(value) for value in (0.0, 1.0)])
    torch.testing.assert_close(pair.log_evidence(x)[0], pair.log_evidence(both).logsumexp(0), rtol=1e-10, atol=0)
    with torch.no_grad():
        pair.m_step(pair.e_step(torch.cat([x, both])))
    assert pair.theta["b"].isfinite().all()
    with eval_mode(pair):
        assert log_weights(pair, x, k=5).isfinite().all()
    assert reconstruct(pair, x).shape == (1, 5)


def test_moments_draws_and_density_of_the_posterior():
    pair, x = published(ItemResponse), lsat6()[[0, 500, 999]]
    p = pair.posterior(x)
    z = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    density = p.log_prob(z.unsqueeze(-1).expand(-1, 3)).exp()
    step = z[1] - z[0]
    torch.testing.assert_close(density.sum(0) * step, torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-10)
    mean = (z @ density) * step
    torch.testing.assert_close(p.mean, mean, rtol=0, atol=1e-10)
    second = (z.square() @ density) * step
    torch.testing.assert_close(p.variance, second - mean.square(), rtol=0, atol=1e-10)
    torch.manual_seed(0)
    draws = p.sample((20_000,))
    assert ((draws.mean(0) - p.mean).abs() < 4 * (p.variance / 20_000).sqrt()).all()


def test_under_rasch_the_number_of_right_answers_says_all():
    pair = published(Rasch)
    patterns = torch.tensor(list(itertools.product((0.0, 1.0), repeat=5)), dtype=torch.float64)
    means = pair.posterior(patterns).mean
    for right in range(6):
        same = means[patterns.sum(1) == right]
        torch.testing.assert_close(same, same[:1].expand(len(same)), rtol=0, atol=1e-10)
    two = published(ItemResponse).posterior(patterns).mean
    assert two.round(decimals=8).unique().numel() == 32


def divergences(pair, x):
    """KL(q || p) and KL(p || q) of guide and posterior, the means over data points, on the nodes of the posterior."""
    p = pair.posterior(x)
    with eval_mode(pair):
        site = poutine.trace(pair.guide).get_trace(x).nodes["z"]
        z = p.nodes.unsqueeze(-1).expand(-1, len(x))
        log_q, log_p = site["fn"].log_prob(z), p.log_prob(z)
        step = p.nodes[1] - p.nodes[0]
        return [
            (of.exp() * (of - other)).sum(0).mul(step).mean().item() for of, other in ((log_q, log_p), (log_p, log_q))
        ]


def with_guide_of(pair, other):
    both = copy.deepcopy(pair)
    both.phi.load_state_dict(other.phi.state_dict())
    return both


@pytest.mark.parametrize("cls", [ItemResponse, Rasch, Bayesian])
def test_a_short_fit_stays_below_the_evidence_by_the_kl_to_the_posterior(cls):
    x = lsat6()
    torch.manual_seed(0)
    pair = cls().double()
    settings = Settings(epochs=20, batch_size=100, lr=3e-2, lr_schedule="flat_cosine", objective="analytic")
    for _ in SVI(pair, x, settings=settings):
        pass
    metrics = evaluate(pair, x, particles=64, held_out=False)
    elbo, error = metrics["elbo"]["value"], metrics["elbo"]["mc_se"]
    if cls is Bayesian:  # its evidence is below the largest likelihood of the model without priors
        assert elbo - 4 * error < PUBLISHED[ItemResponse][0] / 1000
        assert "evidence" not in metrics
        return
    assert elbo - 4 * error < metrics["evidence"]["value"] <= PUBLISHED[cls][0] / 1000 + 1e-6
    (reverse, _), start = divergences(pair, x), cls().double()
    assert 0 < reverse < divergences(with_guide_of(pair, start), x)[0]  # the guide has come closer
    torch.testing.assert_close(metrics["evidence"]["value"] - elbo, reverse, rtol=0, atol=4 * error)
    few = x[::100]
    found = against_posterior(pair, few, draws=2000)["forward_kl"]
    torch.testing.assert_close(found["value"], divergences(pair, few)[1], rtol=0, atol=4 * found["mc_se"])


def test_data_of_the_model_have_the_shapes_of_its_plates():
    drawn = sample(Bayesian(data_dim=7), torch.zeros(1, 7), n=4)
    assert {name: tuple(value.shape) for name, value in drawn.items()} == {
        "x": (4, 7),
        "a": (7,),
        "b": (7,),
        "z": (4,),
        "mean": (4, 7),
    }
    assert set(drawn["x"].unique().tolist()) <= {0.0, 1.0}
