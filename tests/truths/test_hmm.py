"""The hidden Markov model: messages, the forward algorithm, and all paths."""

import itertools
import math

import numpy as np
import pytest
import torch
from discrete_cases import ENUM, em_and_svi, near, perturbed

import data
from data import synthetic
from gallery.models.gaussian_mixture import GaussianMixture
from gallery.models.hmm import HMM
from gallery.models.loaded_die import LoadedDie
from gallery.models.squared_gaussian import SquaredGaussian
from inference import SVI, em, encode, eval_mode, log_weights, reconstruct, sample


@pytest.fixture
def chain():
    """A toy of three states and four steps, and for every path log p(x, y): (paths, n)."""
    pair, x = perturbed(HMM()), torch.randn(5, 4, dtype=torch.float64)
    initial, transition, emission = (factor.detach() for factor in pair.log_factors(x))
    paths = torch.tensor(list(itertools.product(range(3), repeat=4)))
    log_joint = torch.stack(
        [initial[y[0]] + transition[y[:-1], y[1:]].sum() + sum(emission[:, t, y[t]] for t in range(4)) for y in paths]
    )
    return pair, x, paths, log_joint


def test_chain_by_messages_by_the_forward_algorithm_and_over_all_paths(chain):
    pair, x, _, log_joint = chain
    exact = log_joint.logsumexp(0)
    torch.testing.assert_close(pair.log_evidence(x), exact, rtol=1e-10, atol=1e-10)
    svi = SVI(pair, x, settings=ENUM)
    loss = svi.loss(torch.arange(5))
    torch.testing.assert_close(loss, -exact.sum(), rtol=1e-10, atol=1e-8)
    gradients = [torch.autograd.grad(value, svi.parameters) for value in (loss, -pair.log_evidence(x).sum())]
    for enumerated, direct in zip(*gradients, strict=True):
        torch.testing.assert_close(enumerated, direct, rtol=1e-8, atol=1e-8)
    with eval_mode(pair):
        torch.testing.assert_close(log_weights(pair, x, k=3), exact.expand(3, 5), rtol=1e-10, atol=1e-8)


def test_expected_counts_and_codes_of_a_chain_are_those_over_all_paths(chain):
    pair, x, paths, log_joint = chain
    weight = log_joint.softmax(0)  # of every path, (paths, n)
    one_hot = torch.eye(3, dtype=torch.float64)[paths]  # (paths, T, states)
    y = torch.einsum("pn,pts->nts", weight, one_hot)
    moves = torch.einsum("pn,pti,ptj->ij", weight, one_hot[:, :-1], one_hot[:, 1:])
    for found, expected in zip(pair.expected_counts(x), (y[:, 0].sum(0), moves, y), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    codes = encode(pair, x)
    for t in range(4):
        torch.testing.assert_close(codes[f"y_{t + 1}"], y[:, t], rtol=1e-8, atol=1e-8)
    n = 4000  # reconstructions use paths drawn from the posterior
    mean = reconstruct(pair, x[:1].expand(n, 4))
    expected = (y[0] @ pair.theta["mean"]).detach()
    assert ((mean.mean(0) - expected).abs() < 4 * mean.std(0) / math.sqrt(n)).all()


def test_chain_em_never_falls_svi_ends_where_it_does_and_both_pass_the_truth():
    x, truth = data.load("hmm").x[:, :5], HMM()
    with torch.no_grad():
        for name in ("initial", "transition"):
            truth.theta[name].copy_(torch.tensor(getattr(synthetic, f"HMM_{name.upper()}")).log())
        truth.theta["mean"].copy_(torch.tensor(synthetic.HMM_MEAN))
        truth.theta["pre_scale"].copy_(torch.tensor(synthetic.HMM_SCALE).expm1().log())
    em_and_svi(near(truth), truth, x, "hmm", epochs=25, batch_size=100, lr=0.1)
    evidence = list(em(HMM().double(), x.double(), 50))
    assert min(np.diff(evidence)) > -1e-12


def test_draws_of_a_chain_have_the_moments_of_the_model(chain):
    pair, x, *_ = chain
    drawn, n = sample(pair, x, 5000), 5000
    initial, transition, _ = (factor.detach() for factor in pair.log_factors(x))
    marginal = initial.exp()
    for t in range(1, 5):
        expected = (marginal @ pair.theta["mean"]).item()
        assert abs(drawn["x"][:, t - 1].mean() - expected) < 4 * drawn["x"][:, t - 1].std() / math.sqrt(n)
        torch.testing.assert_close(drawn["mean"][:, t - 1], pair.theta["mean"][drawn[f"y_{t}"]].detach())
        marginal = marginal @ transition.exp()


def test_a_chain_of_one_step_is_a_mixture():
    x, chain, mixture = torch.randn(8, 1, dtype=torch.float64), perturbed(HMM()), GaussianMixture(1, 3).double()
    with torch.no_grad():
        for name, other in (("initial", "logits"), ("mean", "mean"), ("pre_scale", "pre_scale")):
            mixture.theta[other].copy_(chain.theta[name].view_as(mixture.theta[other]))
    torch.testing.assert_close(chain.log_evidence(x), mixture.log_evidence(x), rtol=1e-10, atol=1e-10)
    chain.m_step(chain.e_step(x))
    mixture.m_step(mixture.e_step(x))
    torch.testing.assert_close(chain.log_evidence(x), mixture.log_evidence(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(SVI(chain, x, settings=ENUM).loss(torch.arange(8)), -chain.log_evidence(x).sum())


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: SquaredGaussian(s=0.0), "s is a standard deviation"),
        (lambda: LoadedDie(concentration=-1.0), "concentration must be positive"),
        (lambda: LoadedDie(data_dim=1), "at least 2 faces"),
        (lambda: GaussianMixture(components=0), "components must be at least 1"),
        (lambda: HMM(states=0), "states must be at least 1"),
    ],
)
def test_hyper_parameters_that_mean_nothing_are_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()
