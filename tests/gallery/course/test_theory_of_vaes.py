"""Each number and identity in the text of the lessons 8 to 10, computed."""

import itertools
import json
import math

import pytest
import torch
from course import names, states
from torch.distributions import Normal, kl_divergence

import data
from gallery.course.checks import lesson_10
from gallery.ledger.experiment_tables import EXPERIMENTS_FOLDER
from gallery.models._nn import PixelHead
from gallery.models.gaussian_mixture import GaussianMixture
from gallery.models.lda import LDA
from gallery.models.vae import VAE
from inference import Settings, em, predictive_check, svi
from inference.evaluation.mutual_information import mutual_information

DOUBLE = torch.float64


def test_the_constant_of_the_squared_error():
    states(8, "36.6 nats for 64 pixels")
    zero = torch.zeros(1, 64, dtype=DOUBLE)
    assert names(8)["loss_of_a_code"](zero, zero, 0.5**0.5).item() == pytest.approx(36.6, abs=0.05)
    one = torch.ones(1, 64, dtype=DOUBLE)
    difference = names(8)["loss_of_a_code"](zero, one, 0.5**0.5) - names(8)["loss_of_a_code"](zero, zero, 0.5**0.5)
    assert difference.item() == pytest.approx(64)  # the squared error, with weight 1


def test_two_principal_components_of_the_digits():
    states(8, "3.38 of the total variance of 4.67")
    grey = names(8)["grey"]
    assert names(8)["linear_error"](grey, 2).item() == pytest.approx(3.38, abs=0.005)
    assert names(8)["linear_error"](grey, 0).item() == pytest.approx(4.67, abs=0.005)
    assert grey.var(0, unbiased=False).sum().item() == pytest.approx(4.67, abs=0.005)


def test_the_elbo_is_reconstruction_minus_the_kl_from_the_prior():
    """For z ~ Normal(0, 1), x ~ Normal(z, 1) and any normal guide, by quadrature."""
    states(8, "= \\mathbb{E}_q[\\log p(x \\mid z)] - \\mathbb{E}_q[\\log q(z \\mid x) - \\log p(z)]")
    x, z = torch.tensor(1.3, dtype=DOUBLE), torch.linspace(-12, 12, 4801, dtype=DOUBLE)
    mean, scale = torch.tensor([0.4, 0.0], dtype=DOUBLE), torch.tensor([0.6, 1.0], dtype=DOUBLE)
    q, p, likelihood = Normal(mean[0], scale[0]), Normal(mean[1], scale[1]), Normal(z, 1.0).log_prob(x)
    density = q.log_prob(z).exp()
    elbo = torch.trapezoid(density * (p.log_prob(z) + likelihood - q.log_prob(z)), z)
    kl = names(8)["kl"](mean[:1].unsqueeze(0), scale[:1].unsqueeze(0))
    assert elbo.item() == pytest.approx((torch.trapezoid(density * likelihood, z) - kl).item(), abs=1e-9)


def test_the_bernoulli_likelihood_is_minus_the_binary_cross_entropy():
    states(8, "x_j \\log p_j + (1 - x_j) \\log (1 - p_j)", "binary cross-entropy", "$\\log p_j - \\log (1 - p_j)$")
    p, x = torch.tensor([0.2, 0.7, 0.9], dtype=DOUBLE), torch.tensor([1.0, 0.0, 1.0], dtype=DOUBLE)
    formula = (x * p.log() + (1 - x) * (1 - p).log()).sum()
    head = PixelHead(1, 3, "bernoulli").double()
    with torch.no_grad():
        head.linear.weight.zero_()
        head.linear.bias.copy_(p.log() - (1 - p).log())
        assert head(torch.zeros(1, 1, dtype=DOUBLE)).log_prob(x).item() == pytest.approx(formula.item(), rel=1e-12)
    loss = torch.nn.functional.binary_cross_entropy(p, x, reduction="sum")
    assert loss.item() == pytest.approx(-formula.item(), rel=1e-12)


def test_the_price_of_a_precise_code_has_no_limit():
    states(8, "grows without limit")
    zero = torch.zeros(1, 2, dtype=DOUBLE)
    prices = [names(8)["kl"](zero, zero + 10.0**-k).item() for k in range(4)]
    assert prices[0] == 0
    assert all(later - earlier > 3 for earlier, later in itertools.pairwise(prices))


def test_bits():
    states(8, "$18 / (64 \\log 2) = 0.41$", "costs 1")
    assert names(8)["bits_per_pixel"](-18, 64) == pytest.approx(0.41, abs=0.005)
    assert names(8)["bits_per_pixel"](64 * math.log(0.5), 64) == pytest.approx(1)


def objective(w, slope, s, variance, sigma, beta):
    """The objective of the smallest VAE, the mean over data of this variance."""
    reconstruction = -(variance * (1 - w * slope) ** 2 + w**2 * s**2) / (2 * sigma**2) - math.log(sigma)
    return reconstruction - beta * 0.5 * (slope**2 * variance + s**2 - 1 - math.log(s**2))


@pytest.mark.parametrize(("variance", "sigma", "beta"), [(4.0, 1.0, 1.0), (4.0, 1.2, 2.0), (1.0, 1.0, 1.5)])
def test_the_threshold_of_collapse(variance, sigma, beta):
    states(9, "$\\beta = v / \\sigma^2$")

    def best(w):  # over the guide: that of a model with noise beta sigma^2
        noise = beta * sigma**2
        return objective(w, w / (w**2 + noise), (noise / (w**2 + noise)) ** 0.5, variance, sigma, beta)

    w = names(9)["best_loading"](variance, sigma, beta)
    assert all(best(w) > best(abs(w + step)) for step in (-0.05, 0.05) if w or step > 0)
    assert (w == 0) == (beta >= variance / sigma**2)
    slope, s = w / (w**2 + beta * sigma**2), (beta * sigma**2 / (w**2 + beta * sigma**2)) ** 0.5
    nearby = itertools.product((-0.02, 0, 0.02), (0.98, 1, 1.02))
    assert all(best(w) >= objective(w, slope + a, s * b, variance, sigma, beta) for a, b in nearby)


def test_a_larger_weight_is_a_looser_bound():
    states(9, "Above 1 the objective is still a lower bound")
    values = [objective(1.5, 0.4, 0.5, 4.0, 1.0, beta) for beta in (1.0, 2.0, 4.0)]
    assert values == sorted(values, reverse=True)
    kl = torch.rand(20, 5, dtype=DOUBLE)
    assert names(9)["free_bits"](kl, 0.4) >= kl.sum(1).mean()  # a larger charge: at most the ELBO


def test_the_two_gaps_add_up():
    states(9, "lowers the second, never the first")
    x = torch.linspace(-3, 3, 13, dtype=DOUBLE)
    for a, s in ((0.2, 0.4), (0.5, 1.3)):
        total = kl_divergence(Normal(a * x, s), Normal(x / 2, 0.5**0.5)).mean()
        assert sum(names(9)["gaps"](x, a, s)).item() == pytest.approx(total.item(), rel=1e-12)
    assert names(9)["gaps"](x, 0.2, 0.4)[0] == names(9)["gaps"](x, 0.5, 0.4)[0]


@pytest.mark.parametrize(("variance", "k"), [(0.5, 0.5), (0.3, 0.7)])
def test_the_tail_of_the_weights_of_a_narrow_guide(variance, k):
    """P(w > t) falls like t^(-1 / k): the slope of its logarithm, far out."""
    states(9, "$k = 1 - s^2$", f"$s^2 = {variance}$, $k = {k}$")
    z = torch.tensor([40.0, 60.0], dtype=DOUBLE) * variance**0.5
    log_w = Normal(0.0, 1.0).log_prob(z) - Normal(0.0, variance**0.5).log_prob(z)
    log_survival = torch.special.log_ndtr(-z / variance**0.5)
    slope = ((log_survival[1] - log_survival[0]) / (log_w[1] - log_w[0])).item()
    assert -1 / slope == pytest.approx(k, abs=0.002)


def test_the_variance_of_the_weights():
    """E_q[w^2], the integral of p^2 / q, is finite at s^2 = 0.6 and not at 0.5, where the integrand is constant."""
    states(9, "their variance becomes infinite")
    z = torch.linspace(0, 30, 4, dtype=DOUBLE)

    def log_integrand(variance):
        scale = torch.tensor(variance, dtype=DOUBLE).sqrt()
        return 2 * Normal(0.0, 1.0).log_prob(z) - Normal(0.0, scale).log_prob(z)

    assert log_integrand(0.6).diff().max() < -1
    assert log_integrand(0.5).diff().abs().max() < 1e-9


def test_the_effective_sample_size_between_1_and_n():
    states(9, "1 if one weight outweighs all others, $n$ if all are equal")
    size = names(9)["effective_sample_size"]
    assert size(torch.zeros(7, dtype=DOUBLE)).item() == pytest.approx(7)
    assert size(torch.tensor([0.0, -200.0, -300.0], dtype=DOUBLE)).item() == pytest.approx(1)


def test_grey_pixels_are_short_of_mass():
    states(9, "543 nats for an image of 784")
    half = torch.tensor([0.5], dtype=DOUBLE)
    assert -784 * names(9)["mass"](half).log().item() == pytest.approx(543, abs=0.5)


def test_beta_drives_the_information_of_a_code_from_its_cap_to_0():
    states(9, "7.09 nats for these 1200", "more than 6.5 of them, at $\\beta = 4$ less than 0.1")
    x = data.load("digits:threshold").x
    found = {}
    for beta in (0.05, 4.0):
        torch.manual_seed(0)
        pair = VAE(data_dim=64, latent_dim=4, hidden=(64,), dropout=0.0)
        svi(pair, x, settings=Settings(epochs=30, batch_size=50, lr=3e-3, beta=beta))
        found[beta] = mutual_information(pair, x)
    assert found[4.0]["mutual_information"]["cap"] == pytest.approx(math.log(len(x))) == pytest.approx(7.09, abs=5e-3)
    assert found[0.05]["mutual_information"]["value"] > 6.5
    assert abs(found[4.0]["mutual_information"]["value"]) < 0.1
    for of in found.values():
        assert of["kl"]["value"] == pytest.approx(of["mutual_information"]["value"] + of["marginal_kl"]["value"])


def test_the_best_q_gives_the_evidence():
    states(10, "their softmax; then the bound is their logsumexp")
    w = lesson_10.WEIGHTS
    best = names(10)["enumerated_elbo"](w.log_softmax(1), w)
    assert torch.allclose(best, w.logsumexp(1))
    for other in (torch.zeros_like(w).log_softmax(1), (2 * w).log_softmax(1)):
        assert (names(10)["enumerated_elbo"](other, w) < best).all()


def test_the_number_of_paths():
    states(10, "$3^{10} = 59{,}049$")
    assert 3**10 == 59_049
    assert names(10)["forward"](lesson_10.INITIAL, lesson_10.TRANSITION, lesson_10.EMISSION) == pytest.approx(
        lesson_10.all_paths().item()
    )


def test_the_iwae_tightens_with_the_number_of_samples():
    """Exactly, for a latent with three values: the expectation over all draws of K = 1, 2, 3, 4."""
    states(10, "\\mathrm{ELBO} = \\mathrm{IWAE}_1 \\le \\mathrm{IWAE}_2")
    joint = torch.tensor([0.05, 0.2, 0.1], dtype=DOUBLE)
    q = torch.tensor([0.5, 0.2, 0.3], dtype=DOUBLE)
    bounds = []
    for K in (1, 2, 3, 4):
        draws = torch.tensor(list(itertools.product(range(3), repeat=K)))
        of_each = torch.stack([names(10)["importance_bound"]((joint / q).log()[d], K) for d in draws])
        bounds.append((q[draws].prod(1) * of_each).sum().item())
    assert bounds[0] == pytest.approx((q * (joint / q).log()).sum().item(), rel=1e-6)
    assert bounds == sorted(bounds)
    assert bounds[-1] < joint.sum().log().item()


def test_a_narrow_guide_has_ranks_at_both_ends():
    states(10, "its mean is $L/2$, its variance $L (L + 2) / 12$", "pile up at both ends")
    torch.manual_seed(0)

    def narrow(x, L):
        return x / 2 + 0.4 * torch.randn(L, len(x), dtype=DOUBLE)

    ranks = names(10)["ranks"](narrow, 4000, 19)
    ends = ((ranks == 0) | (ranks == 19)).double().mean().item()
    assert ends > 0.1 + 4 * (0.1 * 0.9 / 4000) ** 0.5
    uniform = torch.arange(20, dtype=DOUBLE)
    assert uniform.mean() == 19 / 2
    assert uniform.var(unbiased=False).item() == pytest.approx(19 * 21 / 12)


def test_replications_of_two_components_differ_from_the_points_and_those_of_three_do_not():
    states(10, "3 for a normal, 1.79 for these points", "a larger one in each of 200 replications")
    x, shares = data.load("gaussian_mixture").x, []

    def fourth_power(x):
        return (((x - x.mean(0)) / x.std(0)) ** 4).mean()

    assert fourth_power(x).item() == pytest.approx(1.79, abs=0.005)
    for components in (2, 3):
        torch.manual_seed(0)
        pair = GaussianMixture(components=components)
        assert len([*em(pair, x, 60)]) > 60
        shares.append(predictive_check(pair, x, fourth_power, replicates=200)["p_value"].item())
    assert shares[0] == 1
    assert 0.05 < shares[1] < 0.95


def test_coordinate_ascent_has_the_means_of_gibbs_sampling_and_smaller_standard_deviations():
    states(10, "means agree, and the standard deviations of coordinate ascent are too small")
    x = data.load("topics", "test").x[0].double()
    beta = torch.from_numpy(data.synthetic.TOPICS_BETA)
    torch.manual_seed(0)
    theta, draws = torch.full((10,), 0.1, dtype=DOUBLE), []
    for _ in range(1200):
        theta = names(10)["sweep"](theta, x, beta, 0.5)
        draws.append(theta)
    drawn = torch.stack(draws[200:])
    q = torch.distributions.Dirichlet(LDA(alpha=0.5, sweeps=100).ascend(x.unsqueeze(0), beta)[0])
    assert ((q.mean - drawn.mean(0)).abs() < drawn.std(0)).all()
    assert (q.stddev < drawn.std(0)).all()


def test_variational_inference_and_gibbs_sampling_predict_alike():
    found = json.loads((EXPERIMENTS_FOLDER / "lda" / "gibbs.json").read_text())
    both = found["perplexity"]["variational, smoothed"]
    gibbs = found["perplexity"]["Gibbs sampling"]["Gibbs sampling"]
    rows = {
        "variational (`lda:smoothed`)": both["coordinate ascent"],
        "Gibbs sampling": gibbs,
        "difference, document by document": both["more than by Gibbs sampling"],
    }
    states(10, *(f"| {name} | {of['value']:.3f} ± {of['se']:.3f} |" for name, of in rows.items()))
    states(10, f"the same {found['documents']} documents, ten topics", "fifth of a percent")
    assert found["starts"] == 3
    more = both["more than by Gibbs sampling"]
    assert more["value"] / gibbs["value"] == pytest.approx(0.002, abs=2e-4)
    assert more["value"] < 2 * more["se"]
    assert more["se"] < gibbs["se"] / 4  # since both share the documents
