"""Pareto k-hat, simulation-based calibration and predictive checks, on weights and models whose answers are known.

Bars are 4 standard errors of the same draws, which one comparison in 16,000 exceeds by chance, unless a bound is named.
"""

import math

import pytest
import torch
from cases import arguments, build
from known import factor_analysis

from gallery.models.exponential_gaussian import PerDatum
from gallery.models.gaussian_mixture import GaussianMixture
from gallery.models.linear_regression import LinearRegression
from inference import (
    InferenceError,
    calibration_ranks,
    eval_mode,
    log_weights,
    pareto_k,
    pareto_k_summary,
    predictive_check,
    sample,
    uniformity,
)
from inference.evaluation.diagnostics import calibration


def shape_of_tail(log_w):
    """k-hat of each data point without its pull to 1/2, that of ten more weights in the tail."""
    size = math.ceil(3 * math.sqrt(len(log_w)))
    return (pareto_k(log_w) * (size + 10) - 5) / size


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_pareto_k_of_known_tails(k):
    """w = u^-k has a Pareto tail of shape k."""
    k_hat = shape_of_tail(-k * torch.rand(4000, 200, dtype=torch.float64).log())
    assert abs(k_hat.mean() - k) < 4 * k_hat.std() / math.sqrt(200)


def test_a_weight_beside_which_all_others_vanish_has_the_heaviest_tail():
    torch.manual_seed(0)
    log_w = torch.randn(400, 3)
    log_w[7, 1] += 2000.0
    k = pareto_k(log_w)
    assert k[1] == math.inf
    assert k[[0, 2]].isfinite().all()


def test_pareto_k_is_of_each_data_point():
    """A guide whose two coordinates have s times the posterior's scale has w = u^-(1 - s^2) but for a constant: a tail
    of shape 3/4 at s = 1/2, a bound at s = 3/2, nothing at s = 1; for each data point, however many there are."""
    pair, x, log_w = factor_analysis(), torch.randn(400, 3, dtype=torch.float64), []
    L = pair.phi["L"].detach().clone()
    for widen in (0.5, 1.5, 1.0):
        with torch.no_grad():
            pair.phi["L"].copy_(widen * L)
        with eval_mode(pair):
            log_w.append(log_weights(pair, x, k=1000))
    narrow, wide = shape_of_tail(log_w[0]), shape_of_tail(log_w[1])
    assert abs(narrow.mean() - 0.75) < 4 * narrow.std() / math.sqrt(400)
    assert wide.max() < 0.5
    few, many = wide[:40], wide[40:]
    assert abs(few.mean() - many.mean()) < 4 * math.sqrt(few.var() / 40 + many.var() / 360)
    assert (pareto_k(log_w[2]) == -math.inf).all()
    with pytest.raises(InferenceError, match="at least 25 draws"):
        pareto_k(torch.zeros(10, 2))


def test_pareto_k_summary_is_the_median_and_the_fraction_above_and_their_errors():
    pair, medians, errors = factor_analysis(), [], []
    with torch.no_grad():
        pair.phi["L"].mul_(0.5)
    x = torch.randn(4000, 3, dtype=torch.float64)
    for seed, part in enumerate(x.split(100)):
        summary = pareto_k_summary(pair, part, draws=100, seed=seed)
        with eval_mode(pair, seed, "pareto_k_summary"):
            k = pareto_k(log_weights(pair, part, k=100))
        assert summary["k_hat"]["value"] == k.median().item()
        assert summary["k_hat_above"]["value"] == pytest.approx((k > 0.7).double().mean().item())
        medians.append(summary["k_hat"]["value"])
        errors.append(summary["k_hat"]["se"])
    ratio = torch.tensor(errors).mean() / torch.tensor(medians).std()
    assert abs(ratio - 1) < 4 / math.sqrt(80)  # the standard error of a standard deviation of 40
    alike = pareto_k_summary(factor_analysis(), x[:50])  # the exact posterior
    assert "value" not in alike["k_hat"]
    assert "all alike" in alike["k_hat"]["undefined"]
    assert alike["k_hat_above"] | {"value": 0.0, "se": 0.0, "n": 50, "particles": 400} == alike["k_hat_above"]


@pytest.mark.parametrize("model", ["linear_regression", "gaussian_mixture", "autoencoder"])
def test_pareto_k_summary_is_of_local_continuous_latents(model):
    with pytest.raises(InferenceError, match="draws continuous latents of a data point; that of"):
        pareto_k_summary(build(model), *arguments(model))


def test_a_guide_of_other_data_has_no_pareto_k():
    with pytest.raises(InferenceError, match="parameters for each data point"):
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


def test_the_optimum_of_mean_field_is_too_narrow_where_intercept_and_slope_are_correlated():
    """Its variances are 1 / precision_ii. Covariates near 2 correlate the two: the variances are too small."""
    pair, given = LinearRegression().double(), 2 + 0.5 * torch.randn(8, 1, dtype=torch.float64)
    like = torch.zeros(8, 1, dtype=torch.float64)

    def mean_field(x, given, draws):
        exact = pair.posterior(x, given)
        sd = exact.precision_matrix.diagonal().rsqrt()
        return {"w": exact.mean + sd * torch.randn(draws, 2, dtype=torch.float64)}

    p = uniformity(calibration_ranks(pair, like, 320, 31, given, mean_field)["w"], 31)
    assert p.max() < 1e-4


def test_the_summary_of_calibration_has_the_direction():
    """The ranks of 31 draws and 640 simulations have a spread of 1, with a standard error of sqrt(0.8 / 640): the
    kurtosis of a uniform number is 1.8. One of two coordinates, at 4 of them."""
    like, pair = torch.zeros(1, 3, dtype=torch.float64), factor_analysis()
    exact = calibration(pair, like)
    assert (exact["simulations"], exact["draws"]) == (640, 31)
    assert exact["p_value"] > 1e-4
    assert abs(exact["spread"] - 1) < 4 * (0.8 / 640) ** 0.5
    L = pair.phi["L"].detach().clone()
    for widen in (0.6, 1.6):
        with torch.no_grad():
            pair.phi["L"].copy_(widen * L)
        result = calibration(pair, like)
        assert result["p_value"] < 1e-4
        assert (result["spread"] > 1) == (widen < 1)
    with pytest.raises(InferenceError, match="parameters for each data point"):
        calibration(PerDatum(total=20), torch.zeros(20, 1))
    with pytest.raises(InferenceError, match="no continuous latent"):
        calibration(GaussianMixture(), torch.zeros(20, 2))


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
        check = predictive_check(pair, x + torch.randn_like(x) * 3 * x.std(0), lambda x: x.std(), replicates=50)
        assert check["p_value"].item() == pytest.approx(1 / 51)
        assert check["replicated"].shape == (50, 1)
