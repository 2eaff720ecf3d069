"""Evidence from both sides, the gap, diagnostics and NUTS: theorems, and models whose answers are known.

Bars are 4 standard errors of the same draws, which one comparison in 16,000 exceeds by chance, unless a bound is named.
"""

import math

import pyro.distributions as dist
import pytest
import torch
from cases import arguments, build
from known import Chain, Tilted, Upwards, close, factor_analysis, simulated, within
from pyro import poutine
from torch.distributions import kl_divergence

import data
from gallery.models.exponential_gaussian import ExponentialGaussian, PerDatum
from gallery.models.factor_analysis import DiagonalGuide, FactorAnalysis
from gallery.models.gaussian_mixture import GaussianMixture
from gallery.models.linear_regression import LinearRegression
from gallery.models.vae import VAE
from inference import InferenceError, eval_mode, evaluate, iwae, log_weights, param_scope, sample
from inference.evaluation.ais import ais, bdmc, gradients, reverse_ais, upper
from inference.evaluation.diagnostics import calibration_ranks, pareto_k, pareto_k_summary, predictive_check, uniformity
from inference.evaluation.gap import gap
from inference.evaluation.log_weights import iwae_variance
from inference.evaluation.metrics import _known_variance
from inference.fit.graph import UntraceableError
from inference.fit.nuts import nuts
from inference.pairs.run import log_joint

# Evidence from both sides


def exponential_gaussian():
    return ExponentialGaussian().double(), torch.tensor([[-1.0], [0.5], [3.0]], dtype=torch.float64)


def chain():
    return Chain().double(), torch.tensor([[-1.0], [0.5], [3.0]], dtype=torch.float64)


@pytest.mark.parametrize("case", [exponential_gaussian, chain, lambda: simulated(3)[:2]])
def test_annealed_weights_are_unbiased_forwards_and_backwards(case):
    """E[w] = p(x) from the prior; E[1 / w] = 1 / p(x) from the exact posterior, at a draw of its own for each chain.
    With so many steps the weights are within a factor of two of each other, mostly: bars from few would be too short.
    """
    pair, x = case()
    with torch.no_grad():
        exact, many = pair.log_evidence(x), x.repeat(1000, 1)
        forward = (ais(pair, x, chains=1000, steps=200, leapfrog=3) - exact).exp()
        within(forward.mean(0) - 1, forward.var(0) / 1000)
        if hasattr(pair, "posterior"):
            z = {"z": pair.posterior(many).sample()}
            backward = exact.repeat(1000) - reverse_ais(pair, many, z, chains=1, steps=200, leapfrog=3)[0]
            backward = backward.exp().view(1000, -1)
            within(backward.mean(0) - 1, backward.var(0) / 1000)


def test_annealing_holds_the_evidence_of_factor_analysis_from_both_sides():
    pair, x, z = simulated(80)
    low = iwae(ais(pair, x, chains=16, steps=300, leapfrog=5))
    high = upper(reverse_ais(pair, x, z, chains=16, steps=300, leapfrog=5))
    with torch.no_grad():
        exact = pair.log_evidence(x)
    for difference in (low - exact, exact - high):
        assert difference.mean() < 4 * difference.std() / math.sqrt(len(x))
    width = high - low
    assert width.mean() + 4 * width.std() / math.sqrt(len(x)) < 0.05


def test_annealing_of_a_vae_and_what_a_sandwich_says():
    pair, like = VAE(data_dim=6, latent_dim=2, hidden=(5,)).double(), torch.zeros(1, 6, dtype=torch.float64)
    found = bdmc(pair, like, 40, chains=8, steps=60, leapfrog=5)
    assert "evidence" not in found
    width = found["upper"]["value"] - found["lower"]["value"]
    assert found["width"]["value"] == pytest.approx(width)
    assert width > -4 * found["width"]["se"]
    assert found["lower"] | {"n": 40, "chains": 8, "steps": 60, "unit": "nats per data point"} == found["lower"]
    known = bdmc(factor_analysis(), torch.zeros(1, 3, dtype=torch.float64), 5, chains=2, steps=5, leapfrog=2)
    assert known["evidence"]["exact"]


def test_annealing_in_parts_is_the_same_law(monkeypatch):
    """Chunks of rows bound the memory; their noise is another, their weights are unbiased as well."""
    monkeypatch.setattr("inference.evaluation.ais.ROWS", 2000)
    pair, x = exponential_gaussian()
    weights = ais(pair, x, chains=1000, steps=30, leapfrog=3)
    assert weights.shape == (1000, 3)
    ratio = (weights - pair.log_evidence(x)).exp()
    within(ratio.mean(0) - 1, ratio.var(0) / 1000)


def test_gradients_of_annealing_are_counted(monkeypatch):
    counted = 0

    class Counts(ExponentialGaussian):
        def model(self, x, total=None):
            nonlocal counted
            counted += len(x) if torch.is_grad_enabled() else 0
            return super().model(x, total)

    def untraceable(*args):
        raise UntraceableError

    monkeypatch.setattr("inference.evaluation.ais.traced", untraceable)
    x = torch.zeros(3, 1, dtype=torch.float64)
    for chains, steps, leapfrog in ((2, 3, 4), (7, 1, 2)):
        counted = 0
        ais(Counts().double(), x, chains=chains, steps=steps, leapfrog=leapfrog)
        assert counted == 3 * gradients(chains, steps, leapfrog)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("linear_regression", "w of LinearRegression is global"),
        ("gaussian_mixture", "no continuous latent"),
        ("gmvae", "z of GMVAE has a discrete parent"),
        ("autoencoder", "the prior of z in Autoencoder is flat"),
        ("ss_vae", "the model of SSVAE cannot sum out"),
    ],
)
def test_annealing_refuses(model, message):
    with pytest.raises(InferenceError, match=message):
        ais(build(model), *arguments(model))
    with pytest.raises(InferenceError, match="chains must be at least 1"):
        ais(build("vae"), *arguments("vae"), chains=0)
    with pytest.raises(InferenceError, match="draws of z are needed"):
        reverse_ais(build("vae"), *arguments("vae"), {})


def test_the_joint_density_of_all_sites():
    pair, x = Chain().double(), torch.randn(5, 1, dtype=torch.float64)
    z = {"z_1": torch.randn(5, dtype=torch.float64), "z_2": torch.randn(5, dtype=torch.float64)}
    with param_scope():
        prior, likelihood = log_joint(pair, (x,), z)
    close(prior, dist.Normal(0, 1).log_prob(z["z_1"]) + dist.Normal(z["z_1"], 1).log_prob(z["z_2"]))
    close(likelihood, dist.Normal(z["z_2"], 1).log_prob(x[:, 0]))


# The gap report


def test_the_gap_of_factor_analysis_is_the_kl_to_the_posterior():
    pair, x = factor_analysis(1.4), torch.randn(40, 3, dtype=torch.float64)
    with torch.no_grad():
        pair.phi["V"].add_(0.1)
        q = dist.MultivariateNormal(x @ pair.phi["V"].T, scale_tril=pair.scale_tril())
        kl = kl_divergence(q, pair.posterior(x))
    report = gap(pair, x, draws=400, steps=500)
    mean, per_datum = report["mean"], report["per_datum"]
    assert abs(mean["gap"]["value"] - kl.mean().item()) < 4 * mean["gap"]["mc_se"]
    assert mean["evidence"]["of"] == "log p(x)"
    assert mean["amortisation_gap"]["value"] > 4 * mean["amortisation_gap"]["mc_se"]
    # the family holds the posterior; 5 parameters that are 1e-3 off, ten of Adam's last steps, at a scale of 1/2 cost
    assert abs(mean["approximation_gap"]["value"]) < 5 / 2 * (1e-3 / 0.5) ** 2
    close(per_datum["gap"], per_datum["approximation_gap"] + per_datum["amortisation_gap"])
    assert abs(gap(factor_analysis(), x, draws=2, steps=1)["mean"]["gap"]["value"]) < 1e-8


def test_a_diagonal_guide_keeps_its_approximation_gap_and_a_full_covariance_closes_it():
    """The best diagonal normal is -log(1 - r^2) / 2 away from a normal of correlation r."""
    pair, x = factor_analysis(cls=DiagonalGuide), torch.randn(40, 3, dtype=torch.float64)
    with torch.no_grad():
        posterior = pair.posterior(x)
        S, sd = posterior.covariance_matrix[0], posterior.stddev[0]
    theory = -0.5 * math.log(1 - (S[0, 1] / sd.prod()).item() ** 2)
    mean = gap(pair, x, draws=400, steps=500)["mean"]
    assert abs(mean["approximation_gap"]["value"] - theory) < 4 * mean["approximation_gap"]["mc_se"]
    assert abs(mean["diagonal_gap"]["value"] - theory) < 4 * mean["diagonal_gap"]["mc_se"]
    assert mean["amortisation_gap"]["value"] > -4 * mean["amortisation_gap"]["mc_se"]


def test_the_gap_where_the_evidence_is_not_known():
    class Silent(ExponentialGaussian):
        log_evidence = None

    pair, x = Silent().double(), torch.randn(30, 1, dtype=torch.float64) + 1
    known = ExponentialGaussian.log_evidence(pair, x).mean().item()
    mean = gap(pair, x, steps=200, chains=8, temperatures=100)["mean"]
    assert mean["evidence"]["of"].startswith("AIS, a lower bound")
    assert mean["evidence"]["value"] < known + 4 * mean["evidence"]["mc_se"]
    assert mean["amortisation_gap"]["value"] > -4 * mean["amortisation_gap"]["mc_se"]
    vae = gap(VAE(data_dim=6, latent_dim=2, hidden=(5,)), *arguments("vae"), steps=50, chains=4, temperatures=20)[
        "mean"
    ]
    assert vae["amortisation_gap"]["value"] > -4 * vae["amortisation_gap"]["mc_se"]
    assert "elbo_full_covariance" in vae


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("linear_regression", r"has w \(global\)"),
        ("gmvae", "has y, z"),
        ("gaussian_mixture", "has none"),
        ("autoencoder", "is a point"),
    ],
)
def test_gaps_that_are_not_defined(model, message):
    with pytest.raises(InferenceError, match=message):
        gap(build(model), *arguments(model))


# Diagnostics


def shape_of_tail(log_w):
    """k-hat of each datum without its pull to 1/2, that of ten more weights in the tail."""
    size = math.ceil(3 * math.sqrt(len(log_w)))
    return (pareto_k(log_w) * (size + 10) - 5) / size


def test_a_factor_of_the_model_is_no_likelihood():
    found = evaluate(Tilted(), torch.zeros(4, 1), particles=400)
    expected = -math.log(2 * math.pi) / 2 - 0.25  # E log N(0; z, 1) for z ~ N(0, 1/2), the exact posterior
    assert abs(found["reconstruction"]["value"] - expected) < 4 * found["reconstruction"]["mc_se"]
    assert found["elbo"]["value"] == pytest.approx(-100 - math.log(4 * math.pi) / 2, rel=1e-6)


def test_the_variance_of_a_log_mean_is_not_biased_by_few_draws():
    torch.manual_seed(0)
    noise, n = 0.01, 200_000  # so little that the first order is all: the variance of the mean of k is noise^2 / k
    for k in (2, 4, 16):
        log_w = noise * torch.randn(k, n, dtype=torch.float64)
        found = iwae_variance(log_w)
        within((found.mean() - noise**2 / k).reshape(1), (found.var() / n).reshape(1))
    assert iwae_variance(log_w[:1]).isnan().all()


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_pareto_k_of_known_tails(k):
    """w = u^-k has a Pareto tail of shape k."""
    found = shape_of_tail(-k * torch.rand(4000, 200, dtype=torch.float64).log())
    assert abs(found.mean() - k) < 4 * found.std() / math.sqrt(200)


def test_a_weight_beside_which_all_others_vanish_has_the_heaviest_tail():
    torch.manual_seed(0)
    log_w = torch.randn(400, 3)
    log_w[7, 1] += 2000.0
    k = pareto_k(log_w)
    assert k[1] == math.inf
    assert k[[0, 2]].isfinite().all()


def test_pareto_k_is_of_each_datum():
    """A guide whose two coordinates have s times the posterior's scale has w = u^-(1 - s^2) but for a constant: a tail
    of shape 3/4 at s = 1/2, a bound at s = 3/2, nothing at s = 1; for each datum, however many there are."""
    pair, x, found = factor_analysis(), torch.randn(400, 3, dtype=torch.float64), []
    L = pair.phi["L"].detach().clone()
    for widen in (0.5, 1.5, 1.0):
        with torch.no_grad():
            pair.phi["L"].copy_(widen * L)
        with eval_mode(pair):
            found.append(log_weights(pair, x, k=1000))
    narrow, wide = shape_of_tail(found[0]), shape_of_tail(found[1])
    assert abs(narrow.mean() - 0.75) < 4 * narrow.std() / math.sqrt(400)
    assert wide.max() < 0.5
    few, many = wide[:40], wide[40:]
    assert abs(few.mean() - many.mean()) < 4 * math.sqrt(few.var() / 40 + many.var() / 360)
    assert (pareto_k(found[2]) == -math.inf).all()
    with pytest.raises(InferenceError, match="at least 25 draws"):
        pareto_k(torch.zeros(10, 2))


def test_tails_are_the_median_and_the_share_above_and_their_errors():
    pair, medians, errors = factor_analysis(), [], []
    with torch.no_grad():
        pair.phi["L"].mul_(0.5)
    x = torch.randn(4000, 3, dtype=torch.float64)
    for seed, part in enumerate(x.split(100)):
        found = pareto_k_summary(pair, part, draws=100, seed=seed)
        with eval_mode(pair, seed):
            k = pareto_k(log_weights(pair, part, k=100))
        assert found["k_hat"]["value"] == k.median().item()
        assert found["k_hat_above"]["value"] == pytest.approx((k > 0.7).double().mean().item())
        medians.append(found["k_hat"]["value"])
        errors.append(found["k_hat"]["se"])
    ratio = torch.tensor(errors).mean() / torch.tensor(medians).std()
    assert abs(ratio - 1) < 4 / math.sqrt(80)  # the standard error of a standard deviation of 40
    alike = pareto_k_summary(factor_analysis(), x[:50])  # the exact posterior
    assert "value" not in alike["k_hat"]
    assert "all alike" in alike["k_hat"]["undefined"]
    assert alike["k_hat_above"] | {"value": 0.0, "se": 0.0, "n": 50, "particles": 400} == alike["k_hat_above"]


@pytest.mark.parametrize("model", ["linear_regression", "gaussian_mixture", "autoencoder"])
def test_tails_are_of_continuous_latents_of_a_datum(model):
    with pytest.raises(InferenceError, match="draws continuous latents of a datum; that of"):
        pareto_k_summary(build(model), *arguments(model))


def test_a_guide_of_other_data_has_no_tails():
    with pytest.raises(InferenceError, match="parameters of its own for each datum"):
        pareto_k_summary(PerDatum(total=20), torch.zeros(20, 1))


def test_calibration_passes_the_exact_posterior_and_flags_too_narrow_and_too_wide():
    """At a level of 1e-4 for each of two coordinates."""
    like = torch.zeros(1, 3, dtype=torch.float64)
    exact = factor_analysis()
    assert uniformity(calibration_ranks(exact, like)["z"], 63).min() > 1e-4
    for widen in (0.6, 1.6):
        with torch.no_grad():
            exact.phi["L"].mul_(widen)
        assert uniformity(calibration_ranks(exact, like)["z"], 63).max() < 1e-4
        with torch.no_grad():
            exact.phi["L"].div_(widen)
    ranks = calibration_ranks(exact, like, simulations=7, draws=5)["z"]
    assert ranks.shape == (7, 2)
    assert 0 <= ranks.min() <= ranks.max() <= 5
    with pytest.raises(InferenceError, match="16 bins"):
        uniformity(ranks, 5)


def test_calibration_of_a_global_latent_takes_a_posterior():
    pair, given = LinearRegression().double(), torch.randn(8, 1, dtype=torch.float64)
    like = torch.zeros(8, 1, dtype=torch.float64)

    def posterior(x, given, draws, widen=1.0):
        exact = pair.posterior(x, given)
        return {"w": exact.mean + widen * (exact.sample((draws,)) - exact.mean)}

    ranks = calibration_ranks(pair, like, 160, 63, given, posterior)["w"]
    assert uniformity(ranks, 63).min() > 1e-4
    narrow = calibration_ranks(pair, like, 160, 63, given, lambda *args, draws: posterior(*args, draws, widen=0.3))["w"]
    assert uniformity(narrow, 63).max() < 1e-4
    with pytest.raises(InferenceError, match="needs a posterior"):
        calibration_ranks(pair, like, given=given)


def test_calibration_is_of_continuous_latents():
    assert set(calibration_ranks(build("gmvae"), torch.zeros(1, 6), simulations=3, draws=5)) == {"z"}


def test_predictive_checks():
    """The p-value of data of the model itself is below a with probability 2 a at most (Meng, 1994)."""
    for pair, wide in ((factor_analysis(), 3), (GaussianMixture().double(), 2)):
        like = torch.zeros(1, wide, dtype=torch.float64)
        x = sample(pair, like, 150)["x"]
        p = predictive_check(pair, x, lambda x: x.std(0))["p_value"]
        assert p.shape == (wide,)
        assert ((p > 1 / 200) & (p < 1)).all()
        found = predictive_check(pair, x + torch.randn_like(x) * 3 * x.std(0), lambda x: x.std(), replicates=50)
        assert found["p_value"].item() == pytest.approx(1 / 51)
        assert found["replicated"].shape == (50, 1)


# NUTS


def test_nuts_on_linear_regression_is_the_conjugate_posterior():
    dataset = data.load("line").to(dtype=torch.float64)
    pair = LinearRegression().double()
    found = nuts(pair, dataset.x, dataset.given, draws=300, warmup=150)
    p, w = pair.posterior(dataset.x, dataset.given), found["summary"]["w"]
    assert found["draws"]["w"].shape == (2, 300, 2)
    assert found["divergences"] == 0
    assert found["gradients"] > 900
    assert ((w["mean"] - p.mean).abs() < 4 * w["mcse"]).all()
    squares = (found["draws"]["w"] - p.mean).square()  # the variance is the mean of these
    error = squares.flatten(0, 1).std(0) / w["ess"].sqrt()
    assert ((squares.mean((0, 1)) - p.variance).abs() < 4 * error).all()


def test_nuts_on_the_latents_of_a_few_data():
    pair, x = exponential_gaussian()
    found = nuts(pair, x, draws=500, warmup=200, chains=1)
    z, p = found["summary"]["z"], pair.posterior(x)
    assert found["draws"]["z"].min() > 0
    assert ((z["mean"] - p.mean).abs() < 4 * z["mcse"]).all()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("gaussian_mixture", "no continuous"),
        ("gmvae", "discrete parent"),
        ("autoencoder", "flat"),
        ("ss_vae", "sum out"),
    ],
)
def test_nuts_refuses(model, message):
    with pytest.raises(InferenceError, match=message):
        nuts(build(model), *arguments(model))
    with pytest.raises(InferenceError, match="draws must be at least 4"):
        nuts(build("vae"), *arguments("vae"), draws=0)


# What evaluate says


class Masked(FactorAnalysis):
    """Data whose first value is negative count for nothing."""

    def model(self, x, total=None):
        with poutine.mask(mask=x[:, 0] > 0):
            super().model(x, total)

    def guide(self, x, total=None):
        with poutine.mask(mask=x[:, 0] > 0):
            super().guide(x, total)


def test_masked_rows_count_for_nothing():
    pair, x, _ = simulated(50, Masked)  # its guide is exact, so no draw differs from another
    seen = x[:, 0] > 0
    assert 0 < seen.sum() < 50
    found = evaluate(pair, x, particles=3)
    for name in ("elbo", "iwae"):
        assert found[name]["value"] == pytest.approx(pair.log_evidence(x)[seen].sum().item() / 50, rel=1e-9)
    with eval_mode(pair):
        q = pair.posterior(x[seen])
        prior = dist.MultivariateNormal(torch.zeros(2, dtype=x.dtype), torch.eye(2, dtype=x.dtype))
        assert sum(found["kl_per_latent"]["z"]) == pytest.approx(kl_divergence(q, prior).sum().item() / 50, rel=1e-9)


@pytest.mark.parametrize("kind", [Chain, Upwards])
def test_kl_of_latents_sums_to_the_kl_whatever_the_order(kind):
    pair, x = kind().double(), torch.zeros(20_000, 1, dtype=torch.float64)
    found = evaluate(pair, x, particles=2)
    apart = sum(sum(kl) for kl in found["kl_per_latent"].values()) - found["kl"]["value"]
    assert abs(apart) < 4 * math.sqrt(3) * found["kl"]["mc_se"]  # one draw has twice the variance of the mean of two


def test_the_error_of_joint_weights_is_not_known_where_one_outweighs_them_all():
    dataset = data.load("line")
    assert "mc_se" not in evaluate(LinearRegression(), dataset.x, dataset.given)["iwae"]
    narrow = torch.zeros(16, 1, dtype=torch.float64).index_fill(0, torch.tensor(0), 50.0)
    assert _known_variance(narrow).isnan()
    assert _known_variance(torch.zeros(16, 1)) == 0
