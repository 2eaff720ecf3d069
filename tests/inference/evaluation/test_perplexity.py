"""Perplexity by document completion: the halves of the words, exact predictions, and what is refused."""

from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributions import Dirichlet

import data
from gallery.models._words import Words
from gallery.models.factor_analysis import FactorAnalysis
from gallery.models.lda import LDA
from gallery.runs.metrics import PERPLEXITY, Subject, compute
from inference import InferenceError
from inference.evaluation.perplexity import half_of_words, perplexity


def test_halves_are_all_words_in_equal_numbers_and_unbiased():
    x = torch.tensor([[3.0, 0.0, 4.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    drawn = torch.stack([half_of_words(x, seed)[0] for seed in range(2000)])
    assert drawn.sum(-1).unique(dim=0).tolist() == [[3, 0, 0]]
    assert (drawn <= x).all()
    mean, error = drawn[:, 0].mean(0), drawn[:, 0].std(0) / 2000**0.5
    assert ((mean - 3 / 7 * x[0]).abs() <= 4 * error).all()
    seen, scored = half_of_words(x, 1)
    assert torch.equal(seen + scored, x)


def test_a_uniform_prediction_has_the_perplexity_of_the_vocabulary():
    pair = LDA(data_dim=6, topics=2).double()
    nn.init.zeros_(pair.beta["logits"])
    found = perplexity(pair, torch.ones(5, 6).double(), draws=3)
    assert abs(found["value"] - 6) < 1e-8
    assert found["se"] < 1e-8
    assert (found["n"], found["draws"]) == (5, 3)


def test_a_topic_model_predicts_by_the_mean_shares_of_the_seen_words():
    torch.manual_seed(0)
    pair = LDA(data_dim=6, topics=3).double()
    with torch.no_grad():
        pair.beta["logits"].mul_(2)
    x = Words(torch.full((40, 6), 1 / 6).double(), 30).sample()
    seen, scored = half_of_words(x, 4)
    gamma = pair.ascend(seen, pair.topics()).detach()
    beta = pair.topics().detach()

    def of(theta):
        return (-(scored * (theta @ beta).log()).sum() / scored.sum()).exp()

    exact = of(Dirichlet(gamma).mean)
    batches = torch.stack([of(Dirichlet(gamma).sample((20,)).mean(0)) for _ in range(20)])
    found = perplexity(pair, x, seed=4, draws=400)  # as many as all batches, with a 20th of their bias
    assert abs(found["value"] - exact) < 4 * batches.std() / 20**0.5 + (batches.mean() - exact).abs() / 20
    log_p = (scored * (Dirichlet(gamma).mean @ beta).log()).sum(1)  # of 15 words in every document
    error = found["value"] * log_p.std() / 15 / 40**0.5
    assert abs(found["se"] / error - 1) < 0.05


def test_the_true_topics_have_a_lower_perplexity_than_random_ones():
    test = data.load("topics", "test").head(100)
    pair = LDA(data_dim=25)
    random = perplexity(pair, test.x)
    with torch.no_grad():
        pair.beta["logits"].copy_((torch.from_numpy(data.synthetic.TOPICS_BETA) + 1e-4).log())
    true = perplexity(pair, test.x)
    assert true["value"] + 4 * true["se"] < random["value"] - 4 * random["se"]


class Counted(LDA):
    """LDA with the distribution of the counts, which has the multinomial coefficient."""

    def document(self, x, beta):
        alpha = x.new_full((len(x), self.shape[0]), self.alpha)
        theta = pyro.sample("theta", dist.Dirichlet(alpha))
        pyro.sample("x", dist.Multinomial(self.length, theta @ beta), obs=x)


def test_a_multinomial_and_a_likelihood_with_word_probabilities_have_the_same_perplexity():
    test = data.load("topics", "test").head(20)
    test = replace(test, x=test.x.double())
    ours, other = LDA().double(), Counted().double()
    other.load_state_dict(ours.state_dict())
    found, same = (compute((PERPLEXITY,), Subject(pair, test))["perplexity"] for pair in (other, ours))
    assert [found[key] for key in ("value", "se")] == pytest.approx([same[key] for key in ("value", "se")], abs=1e-8)
    one_hot = replace(test, x=torch.eye(25)[:20].double())
    assert compute((PERPLEXITY,), Subject(other, one_hot)) == {}


class Mixed(nn.Module):
    """Each document has one topic, which the model sums out."""

    def __init__(self):
        super().__init__()
        self.beta = nn.Parameter(torch.tensor([[3.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 3.0]]).double())

    def model(self, x, total=None):
        pyro.module("pair", self)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Categorical(x.new_ones(2)), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Multinomial(6, self.beta.softmax(-1)[z]), obs=x)

    def guide(self, x, total=None):
        pass


def test_a_topic_that_is_summed_out_is_drawn_from_its_posterior():
    pair = Mixed()
    x = torch.tensor([[4.0, 2.0, 0.0, 0.0], [0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 2.0, 1.0]]).double()
    seen, scored = half_of_words(x, 0)
    beta, draws = pair.beta.detach().softmax(-1), 400
    r = (seen @ beta.log().T).softmax(-1)
    log_p = (scored * (r @ beta).log()).sum()
    variance = (r.prod(1, keepdim=True) * (scored * (beta[0] - beta[1]) / (r @ beta)).sum(1, keepdim=True) ** 2).sum()
    log_found = -torch.tensor(perplexity(pair, x, draws=draws)["value"]).log() * scored.sum()
    assert (log_found - log_p).abs() < 4 * (variance / draws) ** 0.5


def test_a_likelihood_of_other_data_is_refused():
    x = torch.tensor([[1.0, 2.0, 1.0]])
    with pytest.raises(InferenceError, match="the likelihood of x is Normal"):
        perplexity(FactorAnalysis(), x)


def test_documents_without_two_words_are_not_scored():
    pair = LDA(data_dim=3, topics=2)
    x = torch.tensor([[1.0, 0.0, 0.0], [2.0, 1.0, 0.0]])
    assert perplexity(pair, x)["n"] == 1
    with pytest.raises(InferenceError, match="no document has two words"):
        perplexity(pair, x[:1])


@pytest.mark.parametrize("value", [-1.0, 0.5, torch.nan, torch.inf])
def test_what_is_no_count_is_refused(value):
    x = torch.tensor([[3.0, 1.0], [2.0, value]])
    with pytest.raises(InferenceError, match="of counts of words, whole numbers from 0"):
        perplexity(LDA(data_dim=2, topics=2), x)


def test_the_metric_applies_to_held_out_counts_of_words_alone():
    splits = data.load_splits("topics", ("train", "test"))
    pair = LDA(data_dim=25)
    assert compute((PERPLEXITY,), Subject(pair, splits["test"].head(5)))["perplexity"]["n"] == 5
    assert not PERPLEXITY.applies(Subject(pair, replace(splits["train"], first_row=0)))
