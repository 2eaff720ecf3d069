"""Corrections of gallery/catalogue/sources.md that can be computed, beside those in the tests of the models."""

import itertools
import math
from itertools import pairwise

import pytest
import torch
from cases import exact_factor_analysis
from known import close, simulated
from torch import nn, tensor
from torch.distributions import Bernoulli, Categorical, MultivariateNormal, Normal, kl_divergence

import data
from data.synthetic import FA_SIGMA, FA_W
from gallery.catalogue.entries import entry
from gallery.catalogue.published import PUBLISHED
from gallery.models._distributions import MAX_LOGIT, ContinuousBernoulli
from gallery.models.autoencoder import Autoencoder
from gallery.models.factor_analysis import DiagonalGuide, FactorAnalysis
from gallery.models.vae import VAE
from inference import SVI, Settings, em
from inference.pairs.info import inspect_pair

needs_mnist = pytest.mark.skipif(
    not next(row.available for row in data.describe() if row.name == "mnist"),
    reason="no raw MNIST files under $GALLERY_DATA",
)
EYE = torch.eye(2, dtype=torch.float64)
PRIOR = MultivariateNormal(EYE[0] * 0, EYE)


def test_the_kl_to_the_prior_is_the_information_and_the_kl_of_the_aggregate():
    """[B]: of a code on a grid; it is 0 where q is the prior, and the information is at most ln n."""
    q = torch.rand(5, 7, dtype=torch.float64).log_softmax(1).exp()
    q, p, aggregate = Categorical(q), Categorical(torch.full((7,), 1 / 7).double()), Categorical(q.mean(0))
    information = kl_divergence(q, aggregate).mean()
    close(kl_divergence(q, p).mean(), information + kl_divergence(aggregate, p))
    assert 0 < information < math.log(5)
    close(kl_divergence(Categorical(p.probs.expand(5, 7)), p), torch.zeros(5, dtype=torch.float64))


def test_a_larger_weight_of_the_kl_leaves_less_information():
    """[B]: exactly, for z ~ Normal(0, 1), x ~ Normal(z, 1), where the best q at beta has mean x / (1 + beta)."""
    informations = []
    for beta in (0.5, 1.0, 2.0, 8.0):
        slope, variance = 1 / (1 + beta), beta / (1 + beta)  # over data of variance 2
        informations.append(0.5 * math.log1p(2 * slope**2 / variance))
    assert informations == sorted(informations, reverse=True)
    assert informations[1] == pytest.approx(0.5 * math.log(2))  # at the posterior: I(x; z) of the model


def test_of_k_logits_one_can_be_fixed():
    """[B]"""
    logits = torch.randn(6, dtype=torch.float64)
    close(Categorical(logits=logits).probs, Categorical(logits=logits - logits[-1]).probs)


def test_a_second_sigmoid_leaves_probabilities_from_one_half_to_73_percent():
    """[B]: the optimum of a loss that takes logits, where the network's last layer is a sigmoid."""
    ends = nn.Sigmoid()(nn.Sigmoid()(tensor([-1e3, 1e3], dtype=torch.float64)))
    close(ends, tensor([0.5, math.e / (1 + math.e)], dtype=torch.float64))
    assert round(ends[1].item(), 2) == 0.73
    loss = nn.BCEWithLogitsLoss()
    assert loss(tensor([0.0]), tensor([0.0])).item() == pytest.approx(math.log(2))  # the least that a black pixel costs


def test_a_sum_over_training_images_by_test_minibatches_is_six_times_the_mean():
    """[L]: the printed test loss, where every minibatch has the loss 1."""
    train, test = torch.zeros(60_000, 1).split(100), torch.zeros(10_000, 1).split(100)
    assert sum(1.0 for _ in train) / len(test) == 6


@needs_mnist
def test_a_relu_unit_may_be_0_for_the_whole_first_minibatch():
    """[L]: in four of twelve starts of the slides' sparse autoencoder, whose penalty is then infinite."""
    x, infinite = data.load("mnist:grey").x, 0
    for width, seed in itertools.product((128, 144), range(6)):
        torch.manual_seed(seed)
        encoder, _ = nn.Linear(784, width), nn.Linear(width, 784)
        rho_hat = encoder(x[torch.randperm(len(x))[:100]]).relu().mean(0)
        infinite += bool((0.05 * torch.log(0.05 / rho_hat)).sum().isinf())
    assert infinite == 4


def test_the_mean_of_a_bernoulli_is_no_sample():
    """[B]: a sample is 0 or 1, and its expected squared distance from the mean is the variance."""
    p = tensor([0.3, 0.9], dtype=torch.float64)
    exact = p * (1 - p).square() + (1 - p) * p.square()
    close(exact, Bernoulli(p).variance)
    assert not Bernoulli(p).support.check(p).any()


def test_encoder_and_decoder_have_separate_parameters():
    """[B]"""
    pair, x = VAE(data_dim=4, latent_dim=2, hidden=(3,)), torch.ones(2, 4)
    info = inspect_pair(pair, (x,))
    assert set(map(id, info.generative_parameters.values())) == set(map(id, pair.decoder.parameters()))
    assert set(map(id, info.inference_parameters.values())) == set(map(id, pair.encoder.parameters()))


def test_the_loss_falls_as_the_likelihood_rises():
    """[B]: what is minimised is minus the log-likelihood."""
    pair, x = VAE(data_dim=4, latent_dim=2, hidden=(3,), dropout=0.0), torch.ones(2, 4)
    svi, losses = SVI(pair, x, settings=Settings(objective="analytic")), []
    for logit in (-1.0, 0.0, 1.0):
        with torch.no_grad():
            pair.decoder[1].linear.weight.zero_()
            pair.decoder[1].linear.bias.fill_(logit)
        losses.append(svi.loss(torch.arange(2)).item())
    assert all(before > after for before, after in pairwise(losses))


def test_a_draw_that_is_not_reparametrised_has_an_unbiased_gradient():
    """[L], [V]: of E f(z) for z ~ Normal(mu, 1), f(z) = z^2, by quadrature: E f(z) (z - mu) = 2 mu."""
    mu, z = tensor(0.7, dtype=torch.float64), torch.linspace(-12, 12, 4801, dtype=torch.float64)
    weights = Normal(mu, 1.0).log_prob(z).exp() * 24 / 4800
    assert (weights * z.square() * (z - mu)).sum().item() == pytest.approx(2 * mu.item(), abs=1e-10)


def test_a_black_pixel_gains_by_the_limit_of_the_logit():
    """[L], [T]"""
    logits = tensor([-MAX_LOGIT, -40.0], dtype=torch.float64)
    low, high = ContinuousBernoulli(logits=logits).log_prob(torch.zeros(2, dtype=torch.float64))
    assert (high - low).item() == pytest.approx(0.92, abs=5e-3)


def test_the_autoencoder_of_the_slides_has_more_parameters_than_images():
    """[L]"""
    assert sum(p.numel() for p in Autoencoder().parameters()) == 226_720 > 55_000


def test_a_pixel_follows_from_the_others():
    """[L], the motivation of denoising: linear regressions on training images, evaluated on test images."""
    intro = " ".join(entry("denoising_autoencoder").intro.split())
    assert "explains 71 % of the variance of a pixel of small digits" in intro
    x, test = (data.load("digits:grey", split, dtype=torch.float64).x for split in ("train", "test"))
    varies = x.var(0) > 1e-4
    x, test = x[:, varies], test[:, varies]
    precision = torch.linalg.inv(torch.cov(x.T))
    residual = (test - x.mean(0)) @ precision / precision.diagonal()  # of each pixel, regressed on the others
    left = residual.square().sum() / (test - x.mean(0)).square().sum()
    assert 1 - left.item() == pytest.approx(0.71, abs=5e-3)


def test_em_may_stay_at_a_point_that_is_no_maximum():
    """[T]: W = 0 is a fixed point of EM for factor analysis, below the evidence of another W."""
    start, x, _ = simulated(200)
    pair = FactorAnalysis().double()
    with torch.no_grad():
        pair.theta["W"].zero_()
        pair.m_step(pair.e_step(x))  # sigma at its best beside W = 0
    evidences = list(em(pair, x, 5))
    assert pair.theta["W"].abs().max() == 0
    assert evidences[-1] == pytest.approx(evidences[0], abs=1e-12)
    assert start.log_evidence(x).mean().item() > evidences[-1] + 0.1


def test_a_sigma_for_each_coordinate_is_diagonal_and_counted_so():
    """[T]"""
    covariance = DiagonalGuide(3, 2).double().scale_tril().square()
    assert covariance.tril(-1).abs().max() == 0
    n, latent = 1000, 2
    assert (latent + latent) * n == sum(p.numel() for p in nn.Embedding(n, 2 * latent).parameters())


def test_the_covariance_of_factor_analysis_is_of_full_rank():
    """[T]: W W' + Phi is the covariance itself, and no low-rank approximation."""
    pair, x, _ = simulated(20)
    W, Phi = pair.theta["W"], pair.sigma.square().diag()
    assert [torch.linalg.matrix_rank(C).item() for C in (W @ W.T, W @ W.T + Phi)] == [2, 3]
    close(MultivariateNormal(x.new_zeros(3), W @ W.T + Phi).log_prob(x), pair.log_evidence(x))


def test_the_sampled_kl_has_no_noise_at_the_posterior_and_the_closed_one_has():
    """[T], on the published model and its test data: variance 0 and .99 nats^2 for a data point."""
    pair, x = FactorAnalysis().double(), data.load("factor_analysis", "test", dtype=torch.float64).x
    with torch.no_grad():
        pair.theta["W"].copy_(tensor(FA_W))
        pair.theta["pre_sigma"].copy_(tensor(FA_SIGMA, dtype=torch.float64).expm1().log())
        q = pair.posterior(x)
        z = q.sample((2,))
        sampled = Normal(z @ pair.theta["W"].T, pair.sigma).log_prob(x).sum(-1) + PRIOR.log_prob(z) - q.log_prob(z)
        close(sampled, pair.log_evidence(x).expand(2, -1))
        # log p(x | z) is quadratic in z: its variance is tr(P S P S) / 2 + g' S g, g its gradient at the mean
        W, S = pair.theta["W"], q.covariance_matrix[0]
        g = (x - q.mean @ W.T) / pair.sigma.square() @ W
        P = W.T @ (W / pair.sigma.square().unsqueeze(-1))
        variance = torch.trace(P @ S @ P @ S) / 2 + (g @ S * g).sum(-1).mean()
    assert variance.item() == pytest.approx(0.99, abs=5e-3)


@pytest.mark.parametrize("name", ["trace", "analytic", "free-bits:0.1"])
def test_a_kl_of_weight_above_1_is_a_looser_bound(name):
    """E log p(x | z) - beta KL falls with beta, and is at most log p(x) where beta >= 1; below 1 it may be above."""
    pair, x, _ = simulated(50)
    values, evidence = {}, pair.log_evidence(x).mean().item()
    for beta in (0.2, 1.0, 3.0):
        svi = SVI(pair, x, settings=Settings(objective=name, beta=beta, batch_size=50))
        torch.manual_seed(0)
        values[beta] = -sum(svi.loss(torch.arange(50)).item() for _ in range(40)) / 40 / 50
        assert svi.is_bound == (beta >= 1)
    assert values[0.2] > evidence > values[1.0] - 0.1 > values[3.0]
    exact = evidence - 2 * kl_divergence(pair.posterior(x), PRIOR).mean().item()  # at the posterior, where beta is 3
    assert name == "free-bits:0.1" or values[3.0] == pytest.approx(exact, abs=0.1)


def test_the_mean_of_many_weights_bounds_nothing_at_weights_above_1():
    """With w = p(x | z) (p / q)^beta, log E w is above log p(x): by Renyi's divergence of prior and guide."""
    pair, x = exact_factor_analysis(20)
    with torch.no_grad():
        pair.theta["W"].zero_()  # x says nothing of z: w is (p / q)^beta, times a constant
        pair.phi["V"].zero_()
        pair.phi["L"].copy_(1.2 * EYE)
    torch.manual_seed(0)
    svi = SVI(pair, x, settings=Settings(objective="iwae:2000", beta=2.0, batch_size=20))
    above = -svi.loss(torch.arange(20)).item() / 20 - pair.log_evidence(x).mean().item()
    exact = 2 * math.log(1.2**2 / math.sqrt(2 * 1.2**2 - 1))  # log of the integral of p^2 / q
    assert above == pytest.approx(exact, abs=0.02)
    assert not svi.is_bound
    assert SVI(pair, x, settings=Settings(objective="iwae:2000")).is_bound


def test_a_point_has_no_kl_to_be_weighted():
    pair, x = Autoencoder(data_dim=4, latent_dim=2), torch.rand(3, 4)
    assert not SVI(pair, x, settings=Settings(beta=2.0)).is_bound


def test_the_published_curve_of_the_vrnn_has_its_78_3_at_epoch_6():
    """[T]: -93.02, -85.5, -81.2, -79.9, -79.2, -78.29, -78.47."""
    assert PUBLISHED["vrnn"]["ELBO, epoch 6, no gradient through z"] == -78.3
