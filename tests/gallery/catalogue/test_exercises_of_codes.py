"""Numbers in answers of exercises on models whose latent is a code, computed as in test_exercises.py."""

import math

import numpy as np
import pytest
import torch
from cases import arguments, build
from exercises import OF_CODES, check_answers, close, least
from sklearn.decomposition import PCA
from torch import tensor
from torch.distributions import Bernoulli, Binomial, MultivariateNormal, Normal, kl_divergence

import data
from data.synthetic import FA_SIGMA, FA_W
from gallery.catalogue.entries import entry
from gallery.catalogue.plain import LOSSES
from gallery.catalogue.recipes import RECIPES
from gallery.ledger.reproduce import read
from gallery.ledger.tables import LEDGER
from gallery.models._distributions import ContinuousBernoulli
from gallery.models.autoencoder import Autoencoder
from gallery.models.contractive_autoencoder import jacobian_norm
from gallery.models.denoising_autoencoder import DenoisingAutoencoder
from gallery.models.factor_analysis import FactorAnalysis
from gallery.models.ppca import PPCA, maximum_likelihood, set_optimum

LOG_10 = math.log(10)


pytestmark = pytest.mark.usefixtures("double")


# Each yields (number of the exercise, text of its answer); other statements are asserted.


def factor_analysis():
    pair = FactorAnalysis(data_dim=1, latent_dim=1)
    with torch.no_grad():
        pair.theta["W"].fill_(2.0)
        pair.theta["pre_sigma"].fill_(math.log(math.e - 1))
    posterior = pair.posterior(torch.ones(1, 1))
    yield 0, f"{posterior.variance.item():.1f}"
    yield 0, f"{posterior.mean.item():.1f}"
    close(posterior.mean.item(), 2 / (2 * 2 + 1))

    def free(d, k):
        return d * k + d - k * (k - 1) // 2

    yield 1, f"need {next(d for d in range(2, 99) if free(d, 2) <= d * (d + 1) / 2)} coordinates"
    yield 1, f"{free(3, 2)} numbers face {3 * 4 // 2} equations"
    W, sigma = torch.from_numpy(FA_W), torch.from_numpy(FA_SIGMA)
    P = torch.eye(2) + W.T @ (W / sigma.square().unsqueeze(1))
    exact = MultivariateNormal(torch.zeros(2), precision_matrix=P)

    def gap(v):
        return kl_divergence(MultivariateNormal(torch.zeros(2), v * torch.eye(2)), exact).item()

    best = 2 / P.trace().item()
    yield 2, f"{gap(0.1):.3f}"
    yield 2, f"{best:.4f}"
    yield 2, f"{least(gap, best):.3f}"
    variances = (-P.diagonal().log()).requires_grad_()  # their logarithms
    independent = MultivariateNormal(torch.zeros(2), covariance_matrix=variances.exp().diag())
    loss, S = kl_divergence(independent, exact), P.inverse()
    close(torch.autograd.grad(loss, variances)[0], torch.zeros(2))
    yield 3, f"{loss.item():.4f} nats"
    L = torch.linalg.cholesky(S)
    layer = tensor([[1.0, 0.0], [(L[1, 0] / L[0, 0]).item(), 1.0]])  # of u - V x
    close(layer @ L.diagonal().square().diag() @ layer.T, S)
    for k in (1, 8, 64):
        of_ones = Binomial(k, tensor(0.5)).log_prob(torch.arange(k + 1.0)).exp()  # of k draws, those of weight 3/2
        yield 4, f"{(of_ones * (0.5 + torch.arange(k + 1.0) / k).log()).sum().item():.4f} at K = {k}"
    yield 4, f"{math.sqrt(1 / 64)} with one of 64"


def ppca():
    x = data.load("digits:grey").x.double()
    pair, fixed = PPCA().double(), PPCA(sigma=0.5).double()
    for one in (pair, fixed):
        set_optimum(one, x)
    eigenvalues = torch.linalg.eigvalsh(torch.cov(x.T, correction=0)).flip(0)
    question = entry("ppca").exercises[0]["question"]
    for value in eigenvalues[:6]:
        assert f"{value.item():.3f}" in question
    _, W, sigma = maximum_likelihood(x, 10, 0.5)
    assert W.any(0).sum() == 5
    mean, s = x @ fixed.phi["V"].T + fixed.phi["c"], fixed.phi["log_s"].exp()
    kl = kl_divergence(Normal(mean, s), Normal(0.0, 1.0)).mean(0)
    yield 0, f"$\\sigma^2 = {sigma.item() ** 2:.2f}$"
    yield 0, f"{', '.join(f'{of.item():.3f}' for of in kl[:4])} and {kl[4].item():.3f} nats"
    yield 0, f"= {eigenvalues[0].sqrt().item():.3f}"
    yield 1, f"{pair.sigma.square().item():.5f}"
    yield 1, f"the tenth is {eigenvalues[9].item():.3f}"
    ours, score = pair.log_evidence(x).mean().item(), PCA(10, svd_solver="full").fit(x.numpy()).score(x.numpy())
    yield 1, f"{ours:.3f} nats"
    yield 1, f"{ours - score:.6f} nats"
    assert "eigenvalues 0.671 and 0.144" in entry("ppca").exercises[2]["question"]
    first, tenth = eigenvalues[0], eigenvalues[9]
    half = tensor(0.5).sqrt()
    M = (
        tensor([[half, half], [-half, half]])
        @ torch.stack([first, tenth]).diag()
        @ tensor([[half, -half], [half, half]])
    )
    best = MultivariateNormal(torch.zeros(2), (1 / M.diagonal()).diag())
    yield 2, f"{kl_divergence(best, MultivariateNormal(torch.zeros(2), precision_matrix=M)).item():.3f} nats"


def autoencoder():
    nothing = Normal(0.0, Autoencoder(data_dim=2).decoder[1].pre_scale.exp().log1p()).log_prob(tensor(0.0))
    yield 0, f"{-784 * nothing.item():.2f}"
    yield 0, f"{math.sqrt(784 / 2):.1f}"
    x = torch.randn(50, 6)
    x = x - x.mean(0)
    _, s, V = torch.linalg.svd(x, full_matrices=False)
    close((x - x @ V[:2].T @ V[:2]).square().sum(), s[2:].square().sum())
    yield 2, f"{144 * 32:,} bits"
    yield 2, f"{784 * 8:,} bits"


def denoising_autoencoder():
    x = torch.linspace(-10, 10, 20_001)
    joint = (Normal(0.0, 1.0).log_prob(x) + Normal(x, 0.5).log_prob(tensor(1.0))).exp()
    yield 0, f"{(torch.trapezoid(x * joint, x) / torch.trapezoid(joint, x)).item():.1f}"
    u = (torch.arange(10_000).unsqueeze(1) + 0.5) / 10_000
    pair, x = DenoisingAutoencoder(data_dim=3, latent_dim=2), tensor([[0.0, 0.5, 1.0]])
    mean = pair.corrupt(x.expand(len(u), -1), u).mean(0)
    close(pair.expected(x)[0], mean, 1e-6)
    yield 1, f"{mean[0].item():.2f}"
    yield 1, f"{mean[1].item():.2f}"
    close(mean[2], 1.0)
    pair.corruption = "salt_pepper"
    image = torch.zeros(len(u), 3)
    yield 2, f"{(pair.corrupt(image, u) != image).double().mean().item():.2f}"


def sparse_autoencoder():
    def curvature(rho):
        return torch.autograd.functional.hessian(
            lambda share: kl_divergence(Bernoulli(tensor(rho)), Bernoulli(share)), tensor(rho)
        ).item()

    yield 0, f"{curvature(0.05):.2f}"
    close(curvature(0.5), 4.0)
    yield 2, f"{2 * 0.05 - 1:.1f}"
    a = torch.randn(9)
    close((1 + a.tanh()) / 2, (2 * a).sigmoid())


def k_sparse_autoencoder():
    for k in (44, 10):
        yield 0, f"{math.log2(math.comb(144, k)):.1f} for $k = {k}$"
    (x,) = arguments("k_sparse_autoencoder", torch.float64)
    pair = build("k_sparse_autoencoder")
    pair.k = pair.latent_dim
    close(LOSSES["k_sparse_autoencoder"](pair, x), LOSSES["autoencoder"](pair, x))


def contractive_autoencoder():
    (x,) = arguments("contractive_autoencoder", torch.float64)
    pair = build("contractive_autoencoder")
    A = pair.encoder[0].weight
    penalty = pair.penalty(x, pair.encoder(x))
    close(penalty, jacobian_norm(pair.encoder, x))
    assert (penalty <= A.square().sum() / 16).all()
    close(pair.penalty(x, torch.full((len(x), len(A)), 0.5)), (A.square().sum() / 16).expand(len(x)))
    with torch.no_grad():
        pair.encoder[0].bias.zero_()
        A.mul_(1e-4)  # units near 1/2
        before = pair.penalty(x, pair.encoder(x))
        A.mul_(0.1)
    ratio = (before / pair.penalty(x, pair.encoder(x))).mean().item()
    yield 2, f"{ratio:.0f} times"


def vae():
    yield 0, f"{kl_divergence(Normal(1.0, 0.5), Normal(0.0, 1.0)).item():.4f}"
    fn, x = ContinuousBernoulli(logits=tensor(math.log(0.1 / 0.9))), torch.linspace(0, 1, 100_001)
    density = fn.log_prob(x).exp()
    close(torch.trapezoid(density, x), 1.0)
    close(torch.trapezoid(x * density, x), fn.mean)
    yield 1, f"{fn.mean.item():.3f}"
    yield 2, f"{math.log(10_000):.2f}"
    total = 2 * kl_divergence(Normal(3.0, 0.1), Normal(0.0, 1.0)).item()  # that of the other image is the same
    z, two = torch.linspace(-5, 5, 100_001), Normal(tensor([[3.0], [-3.0]]), 0.1)
    q = two.log_prob(z).logsumexp(0) - math.log(2)  # of a coordinate over both images
    each = torch.trapezoid(q.exp() * (q - Normal(0.0, 1.0).log_prob(z)), z).item()
    close(total - 2 * each, 2 * math.log(2))  # information and total correlation, which are equal
    yield 2, f"$I = \\log\\,2$ = {math.log(2):.3f} nats"
    yield 2, f"the total correlation is {math.log(2):.3f} as well"
    yield 2, f"{total:.3f} nats in all, which leaves {2 * each:.3f}"
    yield 2, f"{math.log(2):.3f} nats in place of {total:.3f}"
    u = tensor([1.0, 0.0])
    z = tensor([u[0], u[0].exp() * u[1]])
    of_scale = Normal(0.0, 1.0).log_prob(z[0]) + Normal(0.0, z[0].exp()).log_prob(z[1])  # q(z_1) q(z_2 | z_1)
    yield 3, f"{of_scale.item():.3f} at"
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    second, fourth = ((weights * np.exp(k * nodes)).sum() / math.sqrt(2 * math.pi) for k in (2, 4))
    yield 3, f"e^2$ = {second:.3f}"
    yield 3, f"{3 * fourth / second**2:.1f}"
    yield from _two_layers()


def _two_layers():
    a, s, t, x = 0.8, 0.6, 0.5, tensor(1.0)
    z_1, z_2 = torch.linspace(-5, 5, 801), torch.linspace(-9, 9, 801).unsqueeze(1)
    of_1, of_2 = (tensor(width / 800).log() for width in (10, 18))  # logarithms of the steps of the grid
    collapsed = Normal(0.0, 1.0).log_prob(z_2)
    log_joint = collapsed + Normal(a * z_2, s).log_prob(z_1) + Normal(z_1, t).log_prob(x)
    log_p = log_joint.flatten().logsumexp(0) + of_1 + of_2
    one_layer = Normal(0.0, 1.0).log_prob(z_1) + Normal(z_1, t).log_prob(x)
    close(one_layer.logsumexp(0) + of_1, log_p)
    close((log_joint.log_softmax(0) - of_2).exp(), Normal(a * z_1, s).log_prob(z_2).exp())
    inner = (collapsed.exp() * (log_joint - collapsed)).sum(0) * of_2.exp()  # of z_1: E log p(x, z) - log q(z_2)
    q = one_layer.softmax(0)  # the posterior of z_1, of each cell
    bound = (q * (inner - q.log() + of_1)).sum()
    yield 4, f"{log_p.item():.4f}"
    yield 4, f"{(log_p - bound).item():.4f} nats"
    yield 4, f"leaves {(log_p - inner.logsumexp(0) - of_1).item():.4f}"
    runs = read(LEDGER / "ledger.json")["vae:static_mnist:two_layers"]["runs"].values()
    yield 4, f"$z_2$ is {max(max(run['test']['kl_per_latent']['z_2']) for run in runs):.4f} nats"


def cvae():
    q, p = Normal(1.0, 0.5), Normal(0.0, 2.0)
    yield 1, f"{kl_divergence(q, p).item():.4f}"
    yield 1, f"{kl_divergence(p, q).item():.4f}"
    mu, m, sigma, s = torch.randn(3), torch.randn(3), torch.rand(3), torch.rand(3)
    moved = kl_divergence(Normal((mu - m) / s, sigma / s), Normal(torch.zeros(3), torch.ones(3)))
    close(kl_divergence(Normal(mu, sigma), Normal(m, s)), moved)


def ss_vae():
    J, q = torch.randn(10), torch.randn(10).softmax(0)
    close((q * (J - q.log())).sum(), J.logsumexp(0) - (q * (q.log() - J.log_softmax(0))).sum())
    x, given = arguments("ss_vae", torch.float64)
    pair = build("ss_vae")
    pair.alpha = 0.0
    loss = LOSSES["ss_vae"](pair, x, given.clamp(min=0))
    assert not any(g.any() for g in torch.autograd.grad(loss, list(pair.classifier.parameters())))
    yield 2, f"{-LOG_10:.4f}"


def gmvae():
    published = RECIPES["gmvae"].published
    yield 0, f"{-LOG_10:.4f}"
    yield 0, f"{published['ELBO, epoch 78, printed without -ln 10'] - LOG_10:.2f}"
    yield 0, f"{LOG_10 - published['entropy of q(y | x)']:.3f}"
    f, y = tensor([-100.0, -99.0]), tensor([0.0, 1.0])
    score = torch.autograd.functional.jacobian(lambda logit: Bernoulli(logits=logit).log_prob(y), tensor(0.0))
    both, baselines = (f * score + (f * score)[:, None]) / 2, f[:, None].expand(2, 2)  # of all four pairs of draws
    loo = ((f - baselines) * score + (baselines - f) * score[:, None]) / 2
    close(both.mean(), loo.mean())
    yield (
        4,
        f"= {loo.mean().item()}. A draw of $f(y)\\,(y - q(1))$ is {(f * score)[1].item()} or {(f * score)[0].item():g}",
    )
    yield 4, f"the variance {both.var(correction=0).item():.2f}"
    yield 4, f"{loo[0, 1].item()} where they differ, with the variance {loo.var(correction=0).item()}"


def vrnn():
    v, steps, draws = 0.1, 100, 16
    ups, of_two = torch.arange(steps + 1.0), tensor([1 - v**0.5, 1 + v**0.5])  # two factors with mean 1 and variance v
    products = of_two[1] ** ups * of_two[0] ** (steps - ups)
    second = (Binomial(steps, tensor(0.5)).log_prob(ups).exp() * products**2).sum()
    yield 3, f"{((second - 1) / draws).item():.1f}"
    means = of_two[0] + (of_two[1] - of_two[0]) * torch.arange(draws + 1.0) / draws
    square = (Binomial(draws, tensor(0.5)).log_prob(torch.arange(draws + 1.0)).exp() * means**2).sum()
    yield 3, f"{(square**steps - 1).item():.3f}"


def deep_markov():
    steps, sequences = 4725, 77
    yield 1, f"{-RECIPES['deep_markov'].published['ELBO per step'] * steps / sequences:.1f} nats"
    yield 1, f"{88 * math.log(2):.2f} nats"
    yield 2, f"{(25 * 5 + 160 * 8) / (25 + 160):.3f} nats a step"
    yield 2, f"the mean {(5 + 8) / 2}"


@pytest.mark.parametrize("name", OF_CODES)
def test_answers_have_the_numbers_that_are_computed_and_no_others(name):
    check_answers(name, list(globals()[name]()))
