"""Synthetic sets agree with the models that they are drawn from."""

import numpy as np
import torch
from torch.distributions import Exponential, MultivariateNormal, Normal

import data


def test_factor_analysis_is_the_published_draw():
    np.random.seed(42)
    z = {split: np.random.normal(size=(1000, 2)) for split in ("train", "test")}
    noise = {split: np.random.normal(size=(1000, 3)) for split in ("train", "test")}
    w, sigma = data.synthetic.FA_W, data.synthetic.FA_SIGMA
    truth = MultivariateNormal(torch.zeros(3).double(), torch.from_numpy(w @ w.T + np.diag(sigma**2)))
    for split, evidence in (("train", -3.9348), ("test", -3.9705)):
        loaded = data.load("factor_analysis", split)
        x = (z[split] @ w.T + noise[split] * sigma).astype(np.float32)
        assert np.array_equal(loaded.x.numpy(), x)
        assert abs(truth.log_prob(loaded.x.double()).mean().item() - evidence) < 5e-4
    assert [f"{value:.6f}" for value in loaded.x[0].tolist()] == ["0.796182", "0.464161", "-1.208192"]
    assert torch.equal(data.load("factor_analysis", "all").x, data.load("factor_analysis").x)
    assert (loaded.shape, loaded.is_image, loaded.support) == ((3,), False, torch.distributions.constraints.real)


def test_exponential_gaussian_has_the_stated_evidence():
    sizes = [len(data.load("exponential_gaussian", split)) for split in ("train", "validation", "test", "all")]
    assert sizes == [2000, 500, 1000, 2500]
    z = torch.linspace(0, 40, 400_001).double()
    x = data.load("exponential_gaussian", "test").x[:20].double()
    brute = torch.trapezoid((Exponential(1.0).log_prob(z) + Normal(z, 1.0).log_prob(x)).exp(), z).log()
    assert torch.allclose(0.5 - x + Normal(0.0, 1.0).cdf(x - 1).log(), brute[:, None], atol=1e-6)
    x = data.load("exponential_gaussian", "all").x  # E x = 1, Var x = 1 + 1
    assert abs(x.mean() - 1) < 4 * (2 / len(x)) ** 0.5


def test_logistic_has_the_stated_odds():
    both = [data.load("logistic", split) for split in ("train", "test")]
    assert [(*of.x.shape, *of.given.shape) for of in both] == [(40, 1, 40, 1), (200, 1, 200, 1)]
    x, c = (torch.cat([getattr(of, name) for of in both]).double() for name in ("x", "given"))
    assert set(x.flatten().tolist()) == {0.0, 1.0}
    design = torch.cat([torch.ones_like(c), c], 1)
    p = (design @ torch.from_numpy(data.synthetic.LOGISTIC_W)).sigmoid()
    score = design.T @ (x[:, 0] - p)  # at the truth: mean 0, and this variance
    assert (score.abs() < 4 * (design.square() * (p * (1 - p))[:, None]).sum(0).sqrt()).all()


def test_eight_schools_is_the_printed_table_and_holds_nothing_out():
    train, test, every = (data.load("eight_schools", split) for split in ("train", "test", "all"))
    assert train.x.flatten().tolist() == [28, 8, -3, 7, -1, 1, 18, 12]
    assert train.given.flatten().tolist() == [15, 10, 16, 11, 9, 11, 10, 18]
    assert torch.equal(train.x, test.x)
    assert torch.equal(train.x, every.x)


def test_lsat6_has_the_printed_frequencies_and_totals_and_holds_nothing_out():
    train, test, every = (data.load("lsat6", split) for split in ("train", "test", "all"))
    assert train.x.shape == (1000, 5)
    assert train.x.sum(0).tolist() == [924, 709, 553, 763, 870]
    number = train.x @ torch.tensor([16.0, 8, 4, 2, 1])  # of the pattern, 0 to 31
    assert (number.diff() >= 0).all()
    assert number.long().bincount().tolist() == data.synthetic.LSAT6_COUNTS.tolist()
    assert torch.equal(train.x, test.x)
    assert torch.equal(train.x, every.x)


def test_topics_have_their_words_from_ten_bars():
    train, test = (data.load("topics", split) for split in ("train", "test"))
    assert (train.shape, len(train), len(test)) == ((5, 5), 1000, 500)
    beta = torch.from_numpy(data.synthetic.TOPICS_BETA)
    assert (beta.sum(1) - 1).abs().max() < 1e-12
    assert sorted(beta.count_nonzero(0).tolist()) == [2] * 25  # a row and a column through each word
    x = torch.cat([train.x, test.x]).double()
    assert (x.sum(1) == 100).all()
    shares, n = x / 100, len(x)
    assert ((shares.mean(0) - 1 / 25).abs() < 4 * shares.std(0) / n**0.5).all()
    within = 100 * (beta @ beta.T).diagonal().mean()  # a pair of words of one topic is of the same word with this rate
    pairs = (x * (x - 1)).sum(1) / (100 * 99)  # of two words of a document, how often they are the same
    alike = (1 + 0.5) / (1 + 10 * 0.5)  # the probability that two words share their topic
    overlap = (beta @ beta.T).sum() - (beta @ beta.T).diagonal().sum()
    expected = alike * within / 100 + (1 - alike) * overlap / 90
    assert (pairs.mean() - expected).abs() < 4 * pairs.std() / n**0.5


def test_line_regresses_to_its_truth():
    line = data.load("line", "test")
    assert line.given is line.covariates
    assert line.covariates.shape == line.x.shape == (200, 1)
    assert 0 <= line.covariates.min() < 1
    assert 4 < line.covariates.max() <= 5
    design = torch.cat([torch.ones(200, 1), line.covariates], 1).double()
    sigma = data.synthetic.LINE_SIGMA
    covariance = sigma**2 * torch.linalg.inv(design.T @ design)
    error = torch.linalg.lstsq(design, line.x.double()).solution[:, 0] - torch.tensor(
        [data.synthetic.LINE_INTERCEPT, data.synthetic.LINE_SLOPE]
    )
    assert (error.abs() < 4 * covariance.diagonal().sqrt()).all()
    assert covariance[0, 1] ** 2 > 0.5 * covariance[0, 0] * covariance[1, 1]
