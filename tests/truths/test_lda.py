"""Latent Dirichlet allocation: evidence by all assignments of words to topics, coordinate ascent, Gibbs sampling."""

import itertools
from collections import Counter

import pyro
import pytest
import torch
from scipy.special import roots_jacobi
from torch.distributions import Dirichlet

import data
from gallery.ledger.experiments.lda import collapsed_gibbs, gibbs_shares
from gallery.models._words import Words
from gallery.models.lda import LDA, Smoothed, ascent_step, coordinate_bound
from inference import Settings, eval_mode, evaluate, log_weights, svi

ALPHA, ETA = 0.7, 0.4
WORDS = [[0, 0, 1], [1, 2, 2], [0, 2]]  # the words of three documents, of a vocabulary of three
COUNTS = torch.tensor([[Counter(words)[v] for v in range(3)] for words in WORDS], dtype=torch.float64)


def log_dirichlet_multinomial(counts, concentration):
    """log p of a sequence with these counts, (..., k), whose probabilities are Dirichlet and integrated out."""
    total, k = counts.sum(-1), counts.shape[-1]
    per_kind = (counts + concentration).lgamma() - torch.tensor(concentration).double().lgamma()
    whole = torch.tensor(k * concentration).double()
    return whole.lgamma() - (total + whole).lgamma() + per_kind.sum(-1)


def every_assignment(words, topics):
    """All topics of the words of one document, (topics^N, N)."""
    return torch.tensor(list(itertools.product(range(topics), repeat=len(words))))


def one_hot(z, topics):
    return torch.nn.functional.one_hot(z, topics).double()


@pytest.fixture
def pair():
    torch.manual_seed(0)
    with torch.random.fork_rng():
        made = LDA(data_dim=3, topics=2, alpha=ALPHA, sweeps=200).double()
    with torch.no_grad():
        made.beta["logits"].copy_(torch.tensor([[1.0, 0.0, -1.0], [-1.0, 0.3, 1.0]]))
    return made


def exact_evidence(pair):
    """log p(x) of each document, by all assignments of its words."""
    log_beta, found = pair.topics().detach().log(), []
    for words in WORDS:
        z = every_assignment(words, 2)
        log_p = log_dirichlet_multinomial(one_hot(z, 2).sum(1), ALPHA) + log_beta[z, torch.tensor(words)].sum(1)
        found.append(log_p.logsumexp(0))
    return torch.stack(found)


def test_words_with_their_topics_summed_out_are_the_sum_over_all_topics(pair):
    theta, beta = torch.tensor([0.3, 0.7]).double(), pair.topics().detach()
    for words, counts in zip(WORDS, COUNTS, strict=True):
        z = every_assignment(words, 2)
        each = theta.log()[z].sum(1) + beta.log()[z, torch.tensor(words)].sum(1)
        assert (each.logsumexp(0) - Words(theta @ beta, 1).log_prob(counts)).abs() < 1e-10


def test_the_integral_over_theta_is_the_sum_over_all_assignments(pair):
    nodes, weights = (torch.from_numpy(of) for of in roots_jacobi(8, ALPHA - 1, ALPHA - 1))  # exact up to 15 words
    theta = torch.stack([(1 + nodes) / 2, (1 - nodes) / 2], 1)
    p = Words((theta @ pair.topics().detach()).unsqueeze(1), 1).log_prob(COUNTS)  # (nodes, documents)
    integral = ((weights / weights.sum()).log().unsqueeze(1) + p).logsumexp(0)
    assert (integral - exact_evidence(pair)).abs().max() < 1e-8


def test_bounds_stand_in_their_order_below_the_exact_evidence(pair):
    exact = exact_evidence(pair)
    beta = pair.topics().detach()
    gamma = pair.ascend(COUNTS, beta)
    of_z = coordinate_bound(gamma, COUNTS, beta, ALPHA)
    with eval_mode(pair, 1):
        log_w = log_weights(pair, COUNTS, k=20_000)
    elbo, error = log_w.mean(0), log_w.std(0) / len(log_w) ** 0.5
    assert (of_z <= elbo + 4 * error).all()
    assert (elbo <= exact + 4 * error).all()
    assert (exact - of_z > 0.01).all()  # so the order is no accident of equal numbers


def test_weights_grow_towards_an_empty_topic_as_the_power_that_bounds_k_hat(pair):
    gamma = pair.ascend(COUNTS, pair.topics().detach())
    theta = torch.tensor([1e-9, 1e-12], dtype=torch.float64)
    theta = torch.stack([theta, 1 - theta], 1).unsqueeze(1)  # nearly without the first topic
    p = Dirichlet(torch.full((2,), ALPHA).double()).log_prob(theta) + Words(theta @ pair.topics(), 1).log_prob(COUNTS)
    log_w = p - Dirichlet(gamma).log_prob(theta)
    power = (log_w[1] - log_w[0]) / (theta[0, 0, 0] / theta[1, 0, 0]).log()
    assert (power - (gamma[:, 0] - ALPHA)).abs().max() < 1e-6


def test_each_step_of_coordinate_ascent_raises_its_bound_to_a_stationary_point(pair):
    beta = pair.topics().detach()
    gamma = torch.full((3, 2), 5.0, dtype=torch.float64)
    bounds = [coordinate_bound(gamma, COUNTS, beta, ALPHA)]
    for _ in range(300):
        gamma = ascent_step(gamma, COUNTS, beta, ALPHA)
        bounds.append(coordinate_bound(gamma, COUNTS, beta, ALPHA))
    steps = torch.stack(bounds).diff(dim=0)
    assert (steps > -1e-12).all()
    assert (steps[0] > 1e-3).all()
    gamma.requires_grad_()
    (gradient,) = torch.autograd.grad(coordinate_bound(gamma, COUNTS, beta, ALPHA).sum(), gamma)
    assert gradient.abs().max() < 1e-8
    assert (gamma.sum(1) - (2 * ALPHA + COUNTS.sum(1))).abs().max() < 1e-10  # every word is dealt to the topics


def bars(n):
    """Documents of the first four bars, and a start on the side of their optimum: there are others, of merged bars."""
    truth = torch.from_numpy(data.synthetic.TOPICS_BETA)[:4, :20]
    pair = LDA(data_dim=20, topics=4, sweeps=10, length=50).double()
    with torch.no_grad():
        x = Words(Dirichlet(torch.full((4,), 0.5).double()).sample((n,)) @ truth, 50).sample()
        pair.beta["logits"].copy_((truth + 0.1).log())
    return pair, x


def test_svi_reaches_at_least_the_bound_of_variational_em():
    torch.manual_seed(0)
    pair, x = bars(n := 40)
    start, beta = pair.beta["logits"].detach().clone(), pair.topics().detach()
    bounds, gamma = [], torch.full((n, 4), 0.5 + 50 / 4, dtype=torch.float64)
    for _ in range(100):
        for _ in range(20):
            gamma = ascent_step(gamma, x, beta, 0.5)
        bounds.append(coordinate_bound(gamma, x, beta, 0.5).mean())
        weight = gamma.digamma().exp()
        beta = beta * (weight.T @ (x / (weight @ beta)))  # the expected counts of words in topics
        beta = beta / beta.sum(1, keepdim=True)
    assert (torch.stack(bounds).diff() > -1e-10).all()
    with torch.no_grad():
        pair.beta["logits"].copy_(beta.clamp(min=1e-12).log())
    of_em = evaluate(pair, x, particles=100)["elbo"]
    assert of_em["value"] > bounds[-1] - 4 * of_em["mc_se"]  # z is summed out of the ELBO
    with torch.no_grad():
        pair.beta["logits"].copy_(start)
    settings = Settings(epochs=150, batch_size=n, lr=0.3, lr_schedule="cosine", objective="analytic")
    svi(pair, x, settings=settings)
    of_svi = evaluate(pair, x, particles=100)["elbo"]
    assert of_svi["value"] > of_em["value"] - 4 * (of_svi["mc_se"] + of_em["mc_se"])


def assignments_of_the_corpus():
    """Every assignment of all words to two topics, (256, 8), and log p(words, assignment) of the smoothed model."""
    words, document = (torch.tensor([at[i] for at in _tokens()]) for i in (1, 0))
    z = every_assignment(words, 2)
    log_p = torch.zeros(len(z), dtype=torch.float64)
    of_topic = one_hot(z, 2)
    for d in range(len(WORDS)):
        log_p += log_dirichlet_multinomial(of_topic[:, document == d].sum(1), ALPHA)
    counts = torch.einsum("anK,nV->aKV", of_topic, one_hot(words, 3))
    return z, log_p + log_dirichlet_multinomial(counts, ETA).sum(1)


def _tokens():
    return [(d, word) for d, words in enumerate(WORDS) for word in words]


def test_collapsed_gibbs_has_the_posterior_of_all_assignments():
    z, log_p = assignments_of_the_corpus()
    p = log_p.softmax(0)
    same = (z.unsqueeze(2) == z.unsqueeze(1)).double()  # whether two words share a topic: the same for all labels
    exact = (p[:, None, None] * same).sum(0)
    drawn = torch.stack([draw.z for draw in collapsed_gibbs(COUNTS, 2, ALPHA, ETA, sweeps=8000, seed=0)])[500:]
    batches = (drawn.unsqueeze(2) == drawn.unsqueeze(1)).double().split(250)
    means = torch.stack([batch.mean(0) for batch in batches])
    error = means.std(0) / len(means) ** 0.5
    assert ((means.mean(0) - exact).abs() <= 4 * error).all()
    assert error.max() < 0.02


def test_the_smoothed_model_has_the_evidence_of_all_assignments_above_its_bound():
    _, log_p = assignments_of_the_corpus()
    exact = log_p.logsumexp(0)
    torch.manual_seed(1)
    pair = Smoothed(data_dim=3, topics=2, alpha=ALPHA, eta=ETA).double()
    with torch.no_grad():
        pair.q["log_total"].fill_(1.0)
    with pyro.plate("draws", 100_000, dim=-2):  # of the priors: their weights are probabilities
        trace = pyro.poutine.trace(pair.model).get_trace(COUNTS)
    ratio = (trace.nodes["x"]["fn"].log_prob(COUNTS).sum(1) - exact).exp()
    error = ratio.std() / len(ratio) ** 0.5
    assert (ratio.mean() - 1).abs() < 4 * error < 0.1
    with eval_mode(pair, 2):
        log_w = log_weights(pair, COUNTS, k=150)[:, 0]
    assert log_w.mean() < exact - 4 * log_w.std() / len(log_w) ** 0.5


def test_draws_of_words_have_their_length_and_mean():
    torch.manual_seed(0)
    words = Words(torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]]), length=7)
    x = words.sample((4000,))
    assert (x.sum(-1) == 7).all()
    assert ((x.mean(0) - words.mean).abs() <= 4 * (words.variance / 4000).sqrt()).all()
    assert (words.log_prob(torch.tensor([0.0, 1.0, 0.0]))[1] < -50).item()  # impossible, and finite


def test_a_topic_that_is_a_latent_broadcasts_over_particles():
    pair, x = Smoothed(data_dim=4, topics=3), torch.ones(5, 4)
    with pyro.plate("particles", 2, dim=-2):
        trace = pyro.poutine.trace(pair.model).get_trace(x)
    assert trace.nodes["beta"]["value"].shape == (2, 3, 4)
    assert trace.nodes["x"]["fn"].probs.shape == (2, 5, 4)


@pytest.mark.parametrize("keywords", [{"topics": 1}, {"alpha": 0.0}, {"sweeps": 0}, {"length": -1}])
def test_sizes_that_mean_nothing_are_refused(keywords):
    with pytest.raises(ValueError, match=f"{next(iter(keywords))}"):
        LDA(**keywords)


def test_gibbs_sampling_of_shares_has_the_mean_of_all_assignments(pair):
    beta = pair.topics().detach()
    z = [every_assignment(words, 2) for words in WORDS]
    exact = []
    for of, words in zip(z, WORDS, strict=True):
        counts = one_hot(of, 2).sum(1)
        log_p = log_dirichlet_multinomial(counts, ALPHA) + beta.log()[of, torch.tensor(words)].sum(1)
        means = (counts + ALPHA) / (len(words) + 2 * ALPHA)
        exact.append(log_p.softmax(0) @ means)
    chains = torch.stack([gibbs_shares(COUNTS, beta, ALPHA, 100, seed) for seed in range(60)])
    error = chains.std(0) / len(chains) ** 0.5
    assert ((chains.mean(0) - torch.stack(exact)).abs() <= 4 * error).all()
    assert error.max() < 0.01


def test_a_word_that_no_topic_has_leaves_the_shares_finite():
    """float32: a count of it, over a probability that underflows."""
    beta = torch.tensor([[0.0, 0.0, -200.0], [1.0, 0.0, -200.0]]).softmax(1)
    gamma = ascent_step(torch.ones(1, 2), torch.tensor([[3.0, 1.0, 500.0]]), beta, 0.5)
    assert gamma.isfinite().all()


def test_words_that_are_expanded_are_validated():
    words = Words(torch.tensor([0.5, 0.5]), length=2, validate_args=True).expand([3])
    with pytest.raises(ValueError, match="within the support"):
        words.log_prob(torch.tensor([[1.0, 0.5]] * 3))
