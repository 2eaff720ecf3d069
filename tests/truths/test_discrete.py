"""Sums that are taken exactly (mixtures, chains), a posterior of two humps, a die: each against its truth."""

import copy
import itertools
import math

import numpy as np
import pyro.distributions as dist
import pytest
import scipy.integrate
import torch
from torch.distributions import kl_divergence

import data
from data import synthetic
from gallery.catalogue.recipes import RECIPES
from gallery.figures import two_kls_fits
from gallery.models.gaussian_mixture import GaussianMixture
from gallery.models.hmm import HMM
from gallery.models.loaded_die import LoadedDie, Softmax, SoftmaxGuide
from gallery.models.squared_gaussian import SquaredGaussian
from inference import SVI, Settings, em, encode, eval_mode, evaluate, iwae, log_weights, reconstruct, sample
from inference.evaluation.evidence_gap import evidence_gap

ENUM = Settings(objective="enum")


def fit(pair, x, name, **settings):
    for _ in SVI(pair, x, settings=Settings(**RECIPES[name].settings | settings)):
        pass
    return pair


def perturbed(pair):
    """In float64, no parameter at its start."""
    pair = pair.double()
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return pair


# squared_gaussian


@pytest.mark.parametrize(("s", "t"), [(1.0, 0.5), (1.0, 0.1), (2.0, 1.0), (0.5, 2.0)])
def test_squared_gaussian_evidence_and_variance_by_other_quadratures(s, t):
    x = torch.tensor([-3.0, 0.0, 0.3, 1.5, 4.0, 17.0], dtype=torch.float64) * s**2
    posterior = SquaredGaussian(s, t).double().posterior(x.unsqueeze(-1))
    for i, value in enumerate(x.tolist()):

        def joint(z, power=0, value=value):
            density = math.exp(-0.5 * ((z / s) ** 2 + ((value - z * z) / t) ** 2)) / (2 * math.pi * s * t)
            return z**power * density

        hump = math.sqrt(max(value, 0.0))
        width = t / (2 * hump + math.sqrt(t))
        edges = sorted({0.0, *(max(0.0, hump + c * width) for c in (-8, -2, 2, 8)), 9 * s})
        mass, second = (
            2 * sum(scipy.integrate.quad(joint, *ends, (p,), epsabs=1e-14)[0] for ends in itertools.pairwise(edges))
            for p in (0, 2)
        )
        assert posterior.log_evidence[i].item() == pytest.approx(math.log(mass), abs=1e-6)
        assert posterior.variance[i].item() == pytest.approx(second / mass, rel=1e-6)
    value = 1.5 * s**2  # the figure of both KLs has a quadrature of its own
    assert posterior.log_evidence[3].item() == pytest.approx(two_kls_fits(s, t, value).log_evidence, abs=1e-6)
    single = SquaredGaussian(s, t).log_evidence(x.float().unsqueeze(-1))
    torch.testing.assert_close(single.double(), posterior.log_evidence, atol=1e-5, rtol=1e-6)


def test_squared_gaussian_guide_pays_log_2_for_the_hump_that_it_leaves():
    x = data.load("squared_gaussian").x
    pair, at = fit(SquaredGaussian(), x, "squared_gaussian", epochs=15), torch.tensor([[2.5], [4.0]])
    missing, error = evidence_gap(pair, at, 4000)
    for i, value in enumerate(at.squeeze(-1).tolist()):
        best = two_kls_fits(x=value).seeking.kl  # of all normals
        assert best == pytest.approx(math.log(2), abs=0.02)
        assert -4 * error[i] < missing[i] - best < 0.2
    assert (encode(pair, at)["z"].abs() - at.squeeze(-1).sqrt()).abs().max() < 0.2  # one hump, not the mean 0
    torch.testing.assert_close(pair.posterior(at).mean, torch.zeros(2).view(2, 1)[:, 0])


# loaded_die


def test_loaded_die_evidence_is_bayes_rule_and_posterior_the_counts():
    x = data.load("loaded_die").to(dtype=torch.float64).x
    pair = LoadedDie(concentration=0.7)
    p = dist.Dirichlet(torch.ones(6, dtype=torch.float64)).sample()
    joint = pair.prior(x).log_prob(p) + (x @ p.log()).sum()
    torch.testing.assert_close(joint - pair.posterior(x).log_prob(p), pair.log_evidence(x), rtol=1e-10, atol=1e-8)
    one_by_one = [(pair.posterior(x[:i]).mean @ x[i]).log() for i in range(len(x))]  # predicted from those before it
    torch.testing.assert_close(sum(one_by_one), pair.log_evidence(x), rtol=1e-10, atol=1e-8)


def test_log_weights_of_the_exact_dirichlet_guide_are_the_evidence():
    x, pair = data.load("loaded_die").to(dtype=torch.float64).x, LoadedDie().double()
    exact = pair.posterior(x).concentration
    with torch.no_grad():
        pair.q["log_total"].copy_(exact.sum().log())
        pair.q["logits"].copy_(exact.log())
    with eval_mode(pair):
        log_w = log_weights(pair, x, k=5)
    torch.testing.assert_close(log_w, pair.log_evidence(x).expand(5, 1), rtol=1e-10, atol=1e-8)


def test_softmax_transform_is_a_bijection_with_its_jacobian():
    eta, f = torch.randn(4, dtype=torch.float64), Softmax()
    p = f(eta)
    torch.testing.assert_close(f.inv(p), eta, rtol=1e-10, atol=1e-10)
    jacobian = torch.autograd.functional.jacobian(lambda e: f(e)[:-1], eta)
    torch.testing.assert_close(f.log_abs_det_jacobian(eta, p), jacobian.det().abs().log(), rtol=1e-10, atol=1e-10)
    assert f.forward_shape((3, 4)) == (3, 5)
    assert f.inverse_shape((3, 5)) == (3, 4)


def test_both_guides_of_the_die_come_to_the_posterior():
    """The Dirichlet one reaches it; the logistic-normal one has a gap, which the bound of many draws closes."""
    x = data.load("loaded_die").x[:40]
    short = {"epochs": 150, "batch_size": 40, "particles": 8}
    pair = fit(LoadedDie(), x, "loaded_die", **short)
    with eval_mode(pair):
        q = dist.Dirichlet((pair.q["log_total"] + pair.q["logits"].log_softmax(0)).exp())
    assert kl_divergence(q, pair.posterior(x)) < 0.05
    softmax = fit(SoftmaxGuide(), x, "loaded_die:softmax", **short)
    with eval_mode(softmax):
        log_w = log_weights(softmax, x, k=500)
    error = log_w.std().item() / math.sqrt(len(log_w))
    missing = softmax.log_evidence(x).item() - log_w.mean().item()
    assert 0.01 - 4 * error < missing < 0.15 + 4 * error
    assert abs(iwae(log_w) - softmax.log_evidence(x)) < 4 * log_w.exp().std() / log_w.exp().mean() / math.sqrt(500)
    drawn = sample(pair, x, 50)
    assert drawn["x"].sum(1).eq(1).all()
    torch.testing.assert_close(drawn["mean"], drawn["p"].expand(50, 6))
    torch.testing.assert_close(encode(pair, x)["p"], q.mean)
    assert reconstruct(pair, x).shape == x.shape


# gaussian_mixture


def test_enumerated_mixture_is_logsumexp_in_loss_gradient_and_weights():
    pair, x = perturbed(GaussianMixture(2, 4)), torch.randn(30, 2, dtype=torch.float64)
    exact = pair.log_evidence(x)
    mixture = dist.MixtureSameFamily(dist.Categorical(logits=pair.theta["logits"]), pair.likelihood(torch.arange(4)))
    torch.testing.assert_close(exact, mixture.log_prob(x), rtol=1e-10, atol=1e-10)
    svi = SVI(pair, x, settings=ENUM)
    loss = svi.loss(torch.arange(30))
    torch.testing.assert_close(loss, -exact.sum(), rtol=1e-10, atol=1e-8)
    gradients = [torch.autograd.grad(value, svi.parameters) for value in (loss, -exact.sum())]
    for enumerated, direct in zip(*gradients, strict=True):
        torch.testing.assert_close(enumerated, direct, rtol=1e-8, atol=1e-8)
    with eval_mode(pair):
        torch.testing.assert_close(log_weights(pair, x, k=3), exact.expand(3, 30), rtol=1e-10, atol=1e-8)
        torch.testing.assert_close(encode(pair, x)["y"], pair.posterior(x).probs, rtol=1e-8, atol=1e-8)
    metrics = evaluate(pair, x)
    kl = kl_divergence(pair.posterior(x), dist.Categorical(logits=pair.theta["logits"])).mean().item()
    assert metrics["elbo"]["value"] == pytest.approx(exact.mean().item())
    assert metrics["elbo"]["mc_se"] == pytest.approx(0, abs=1e-12)
    assert metrics["kl"]["value"] == pytest.approx(kl)


def test_minibatches_of_a_mixture_are_scaled_to_all_the_data():
    pair, x = perturbed(GaussianMixture(2, 3)), torch.randn(20, 2, dtype=torch.float64)
    svi = SVI(pair, x, settings=Settings(objective="enum", batch_size=5))
    losses = [svi.loss(svi.rows(step)).item() for step in range(4)]
    assert np.mean(losses) == pytest.approx(-pair.log_evidence(x).sum().item())


def near(truth):
    """A copy of a pair, every parameter moved a little: in the basin of the same optimum, which a random start may not
    be."""
    pair = copy.deepcopy(truth)
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return pair


def em_and_svi(pair, truth, x, name, iterations=100, **settings):
    """EM and SVI from one start; what holds of both is asserted."""
    other = copy.deepcopy(pair).double()
    evidence = list(em(other, x.double(), iterations))
    assert min(np.diff(evidence)) > -1e-12  # it never falls
    other.log_evidence(x.double()).mean().backward()
    assert all(p.grad.abs().max() < 1e-3 for p in other.theta.values())  # and comes to rest
    assert evidence[-1] > truth.log_evidence(x).mean().item()  # fitted to these data, which the truth is not
    fit(pair, x, name, **settings)
    assert pair.log_evidence(x).mean().item() == pytest.approx(evidence[-1], abs=0.01)


def true_mixture():
    truth = GaussianMixture()
    with torch.no_grad():
        truth.theta["logits"].copy_(torch.tensor(synthetic.MIXTURE_WEIGHTS).log())
        truth.theta["mean"].copy_(torch.tensor(synthetic.MIXTURE_MEAN))
        truth.theta["pre_scale"].copy_(torch.tensor(synthetic.MIXTURE_SCALE).expm1().log())
    return truth


def test_mixture_em_never_falls_svi_ends_where_it_does_and_both_pass_the_truth():
    x, truth = data.load("gaussian_mixture").x, true_mixture()
    em_and_svi(near(truth), truth, x, "gaussian_mixture", epochs=5)
    evidence = list(em(GaussianMixture().double(), x.double(), 100))
    assert min(np.diff(evidence)) > -1e-12  # from a random start as well


def test_codes_reconstructions_and_draws_of_a_mixture():
    pair, test = true_mixture(), data.load("gaussian_mixture", "test")
    probs = encode(pair, test.x)["y"]  # (n, components), calibrated: their mean on the true component is their norm's
    right = probs.gather(1, test.labels.unsqueeze(1)).squeeze(1) - probs.square().sum(1)
    assert abs(right.mean()) < 4 * right.std() / math.sqrt(len(right))
    centres = reconstruct(pair, test.x)  # of a component drawn from its responsibilities
    hit = (centres == pair.theta["mean"][test.labels]).all(1).float() - probs.gather(1, test.labels.unsqueeze(1))[:, 0]
    assert abs(hit.mean()) < 4 * hit.std() / math.sqrt(len(hit))
    drawn = sample(pair, test.x, 100)
    assert drawn["x"].shape == (100, 2)
    torch.testing.assert_close(drawn["mean"], pair.theta["mean"][drawn["y"]].detach())


def test_a_component_that_dies_leaves_finite_parameters():
    x = data.load("gaussian_mixture").x
    pair = GaussianMixture()
    with torch.no_grad():
        pair.theta["mean"][0] = 1e3
    evidence = list(em(pair, x, 20))
    assert all(p.isfinite().all() for p in pair.parameters())
    assert min(np.diff(evidence)) > -1e-4  # float32


# hmm


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
        (lambda: LoadedDie(concentration=-1.0), "concentration is positive"),
        (lambda: LoadedDie(data_dim=1), "at least 2 faces"),
        (lambda: GaussianMixture(components=0), "components must be at least 1"),
        (lambda: HMM(states=0), "states must be at least 1"),
    ],
)
def test_hyper_parameters_that_mean_nothing_are_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()
