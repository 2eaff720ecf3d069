"""The semi-supervised VAE: with all labels, without any, and with few."""

import math

import pyro.distributions as dist
import pytest
import torch
from cases import SMALL
from pyro import poutine
from vae_cases import C, N, close, drawn_z, loss, small, svi

import data
from gallery.models.cvae import CVAE
from gallery.models.ss_vae import SSVAE
from inference import (
    InferenceError,
    eval_mode,
    sample,
)
from inference.evaluation.log_weights import importance_terms


@pytest.fixture
def x():
    return (torch.rand(N, SMALL["data_dim"], dtype=torch.float64) > 0.5).double()


def supervised(pair, x, y, z):
    """The bound of log p(x | y) for a draw z from q(z | x, y), (n,)."""
    one_hot = torch.eye(C, dtype=x.dtype)[y].expand(len(x), C)
    prior = dist.Normal(torch.zeros_like(z), 1.0).to_event(1)
    of_x = pair.decoder(torch.cat([z, one_hot], -1)).log_prob(x)
    return of_x + prior.log_prob(z) - pair.encoder(x, one_hot).log_prob(z)


def test_ss_vae_with_all_labels_is_the_supervised_bound(x):
    pair, labels = small(SSVAE, alpha=7.0), torch.randint(C, (N,))
    z = drawn_z(pair, x, labels)[labels, torch.arange(N)]
    bound = supervised(pair, x, labels, z)
    log_q = pair.classifier(x).log_softmax(-1)[torch.arange(N), labels]
    fit = svi(pair, x, labels, "enum")
    close(loss(fit), -(bound + 7.0 * log_q).sum())
    with eval_mode(pair, seed=None):
        torch.manual_seed(2)  # as `drawn_z`
        found = importance_terms(pair, x, labels)
    for name in ("elbo", "weight"):  # evaluation leaves the term of the classifier out
        close(found[name][0], bound)
    learned = torch.autograd.grad(loss(fit), list(pair.classifier.parameters()))
    by_alpha = torch.autograd.grad(-7.0 * log_q.sum(), list(pair.classifier.parameters()))
    for a, b in zip(learned, by_alpha, strict=True):
        close(a, b)


def test_ss_vae_without_a_label_sums_over_the_classes(x):
    pair, labels = small(SSVAE), torch.randint(C, (N,))
    known = torch.arange(N) < 4
    given = labels.where(known, -1)
    z, log_q = drawn_z(pair, x, given), pair.classifier(x).log_softmax(-1)
    each = torch.stack([supervised(pair, x, y, z[y]) for y in range(C)], 1)
    unsupervised = (log_q.exp() * (each - math.log(C) - log_q)).sum(1)
    expected = each[torch.arange(N), labels].where(known, unsupervised)
    with eval_mode(pair, seed=None):
        torch.manual_seed(2)  # as `drawn_z`
        close(importance_terms(pair, x, given)["elbo"][0], expected)
    fit = svi(pair, x, given, "enum")
    term = pair.alpha * log_q[torch.arange(N), labels][known].sum()
    close(loss(fit), -(expected.sum() + term))


def test_ss_vae_classifies_and_draws_a_class(x):
    pair = small(SSVAE)
    close(pair.classify(x).sum(1), torch.ones(N, dtype=x.dtype))
    given = torch.tensor([0, 1, 2, -1, -1, -1])
    drawn = sample(pair, x, 6, given)["y"]
    assert drawn[:3].argmax(1).tolist() == [0, 1, 2]
    assert torch.equal(drawn.sum(1), torch.ones(6, dtype=x.dtype))


def test_without_labels_alpha_does_nothing_and_no_label_is_shown(x):
    none = torch.full((N,), -1)
    losses = []
    for alpha in (0.0, 1e3):
        pair = small(SSVAE)
        pair.alpha = alpha
        losses.append(loss(svi(pair, x, none, "enum")))
    assert torch.equal(*losses)
    unlabelled = data.load("digits:threshold:0-labels")
    assert (unlabelled.given == -1).all()
    assert torch.equal(unlabelled.labels, data.load("digits:threshold").labels)  # for its evaluation


def test_dropout_hides_pixels_from_the_classifier_in_training_mode(x):
    given = torch.full((N,), -1)
    pair, all_pixels = small(SSVAE, dropout=0.2), small(SSVAE)
    for training in (True, False):
        torch.manual_seed(0)
        kept = torch.rand(x.shape) >= 0.2
        seen = x.where(kept, 0) / 0.8 if training else x
        torch.manual_seed(0)
        trace = poutine.trace(pair.train(training).guide).get_trace(x, given)
        close(trace.nodes["y"]["fn"].probs, all_pixels.classify(seen))
        q, y = trace.nodes["z"]["fn"], trace.nodes["y"]["value"]
        close(q.mean, all_pixels.encoder(x, y).mean)
    with pytest.raises(ValueError, match="dropout is a probability below 1, not 1"):
        SSVAE(dropout=1.0)


def test_labels_outside_the_classes_are_refused(x):
    for labels in (torch.full((N,), -2), torch.full((N,), C)):
        with pytest.raises(InferenceError, match="integers from 0 to 2, or -1 where one is missing"):
            svi(small(SSVAE), x, labels, "enum")
    with pytest.raises(InferenceError, match="integers from 0 to 2, and these go from -1"):
        svi(CVAE(6, classes=C).double(), x, torch.full((N,), -1))
    with pytest.raises(ValueError, match="alpha is a weight"):
        SSVAE(alpha=-1.0)


def test_few_labels_are_as_many_of_each_class_and_of_training_rows_only():
    few, every = data.load("digits:threshold:100-labels"), data.load("digits:threshold:100-labels", "all")
    assert few.name == "digits:threshold:100-labels"
    assert few.labels[few.known].bincount().tolist() == [10] * 10
    assert torch.equal(few.given, few.labels.where(few.known, -1))
    assert torch.equal(every.given[: len(few)], few.given)
    assert (every.given[len(few) :] == -1).all()
    assert (data.load("digits:threshold:100-labels", "test").given == -1).all()
    assert few.hash != data.load("digits:threshold").hash
    assert torch.equal(few.head(7).to("cpu", torch.float64).given, few.given[:7])
    for name, reason in (("15", "multiple"), ("9000", "has .* training rows")):
        with pytest.raises(data.DataError, match=reason):
            data.load(f"digits:threshold:{name}-labels")
    with pytest.raises(data.DataError, match="no labels"):
        data.load("line:10-labels")
