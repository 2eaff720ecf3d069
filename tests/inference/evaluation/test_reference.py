"""A guide against draws of the exact posterior: bounds from both sides, and equality where the guide is exact."""

import math

import pyro
import pytest
import torch
from pyro.distributions import MultivariateNormal, Normal

from gallery.models.eight_schools import EightSchools
from gallery.models.exponential_gaussian import ExponentialGaussian
from gallery.models.gaussian_mixture import GaussianMixture
from gallery.models.gmvae import GMVAE
from gallery.models.hmm import HMM
from gallery.models.linear_regression import LinearRegression
from gallery.models.squared_gaussian import SquaredGaussian
from inference import InferenceError, evaluate
from inference.evaluation.reference import against_draws, against_posterior, mean_error, moment_errors
from inference.examples import LinearGaussian


class Known(LinearGaussian):
    def posterior(self, x):
        return Normal(x / 2, torch.full_like(x, 0.5**0.5)).to_event(1)

    def prior(self, x):
        return Normal(torch.zeros_like(x), torch.nn.functional.softplus(self.q["spread"])).to_event(1)


X = torch.tensor([[-1.5], [0.3], [2.0]], dtype=torch.float64)


def test_an_exact_guide_meets_the_evidence_without_noise():
    pair = Known().double()
    with torch.no_grad():
        pair.q["weight"].fill_(0.5)
        pair.q["spread"].fill_(math.log(math.expm1(0.5**0.5)))
    result = against_posterior(pair, X, draws=400)
    assert result["eubo"]["value"] == pytest.approx(pair.log_evidence(X).mean().item(), abs=1e-8)
    assert result["eubo"]["mc_se"] < 1e-8
    assert abs(result["forward_kl"]["value"]) < 1e-8
    assert result["forward_ess"] == pytest.approx(1, abs=1e-8)


def test_the_forward_kl_of_a_normal_is_the_closed_form():
    pair = Known().double()  # q = Normal(0, 1), p = Normal(x / 2, sqrt(1 / 2))
    result = against_posterior(pair, X, draws=2000)
    exact = torch.distributions.kl_divergence(pair.posterior(X), pair.prior(X)).mean().item()
    assert abs(result["forward_kl"]["value"] - exact) < 4 * result["forward_kl"]["mc_se"]
    assert result["largest_z"] > 20  # the mean is wrong by up to 1


@pytest.mark.parametrize(
    ("pair", "given"),
    [(SquaredGaussian(), None), (ExponentialGaussian(), None), (LinearRegression(), torch.ones(3, 1).double())],
)
def test_elbo_evidence_and_eubo_stand_in_this_order(pair, given):
    pair, x = pair.double(), X.abs()
    upper = against_posterior(pair, x, given, draws=60)["eubo"]
    metrics = evaluate(pair, x, given, 60)
    assert metrics["elbo"]["value"] - 4 * metrics["elbo"]["mc_se"] <= metrics["evidence"]["value"]
    assert metrics["evidence"]["value"] <= upper["value"] + 4 * upper["mc_se"]


def test_what_has_no_posterior_of_a_continuous_latent_is_refused():
    with pytest.raises(InferenceError, match="has no method `posterior`"):
        against_posterior(LinearGaussian(), X.float())
    with pytest.raises(InferenceError, match="HMM has no method `posterior`"):
        against_posterior(HMM(), X.float())
    pair = GMVAE(data_dim=1, components=2, latent_dim=1, hidden=(2,))
    pair.posterior = Normal  # whatever it is, it is not that of one latent
    with pytest.raises(InferenceError, match=r"one latent, drawn with a density or summed out; GMVAE has y, z\."):
        against_posterior(pair, X.abs().clamp(max=1).float())


def test_errors_are_in_units_of_the_reference():
    p = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shifted = moment_errors(p + 2 * p.std(0), p)
    assert [shifted[name] for name in ("largest_error", "rms_error", "wasserstein")] == pytest.approx([2] * 3, abs=1e-8)
    assert shifted["largest_z"] == pytest.approx(2 * math.sqrt(1000 / 2), rel=1e-8)
    wider = moment_errors(p.mean(0) + 3 * (p - p.mean(0)), p)
    assert (wider["rms_sd_error"], wider["largest_error"]) == pytest.approx((2, 0), abs=1e-8)


def test_draws_by_quadrature_have_the_moments_of_the_posterior():
    posterior = SquaredGaussian().posterior(X)
    z = posterior.sample((4000,))
    square = z.square()
    for draws, exact in ((z, posterior.mean), (square, posterior.variance)):
        assert ((draws.mean(0) - exact).abs() < 4 * draws.std(0) / 4000**0.5).all()


def test_the_error_of_the_means_is_exact_and_has_no_noise():
    pair = Known().double()  # guide 0, posterior x / 2 with the sd sqrt(1 / 2)
    assert mean_error(pair, X) == pytest.approx((X / 2).square().mean().item() ** 0.5 / 0.5**0.5, abs=1e-8)
    for other in (LinearGaussian(), GaussianMixture(data_dim=1), EightSchools()):
        assert mean_error(other, X.float(), torch.ones(3, 1)) is None


class Line(LinearRegression):
    """A guide that is the exact posterior, but for a shift."""

    shift = 0.0

    def guide(self, x, given, total=None):
        p = self.posterior(x, given)
        pyro.sample("w", MultivariateNormal(p.mean + self.shift * p.stddev, p.covariance_matrix))


def line():
    given = torch.linspace(-1, 1, 8, dtype=torch.float64).unsqueeze(1)
    pair = Line().double()
    return pair, 2 * given + 1, given


def test_draws_of_another_sampler_are_a_reference_with_its_errors():
    """A chain that stays at each draw for two steps has the errors of half of the draws."""
    pair, x, given = line()
    w = pair.posterior(x, given).sample((2, 1000)).repeat_interleave(2, dim=1)
    result = against_draws(pair, {"w": w}, 0, x, given)
    assert (result["draws"], result["n"]) == (4000, 8)
    assert result["largest_z"] < 4
    assert result["largest_sd_z"] < 4
    assert 1.2 * 4000**-0.5 < result["reference_error"] < 1.7 * 4000**-0.5  # sqrt(2) = 1.41, up to the noise of the ESS
    pair.shift = 1.0
    shifted = against_draws(pair, {"w": w}, 0, x, given)
    assert abs(shifted["largest_error"] - 1) < 4 * (1 / 2000 + 1 / 4000 + 1 / 4000) ** 0.5  # the last: of the sd
    assert shifted["largest_z"] > 10


def test_draws_that_have_not_converged_are_no_reference():
    pair, x, given = line()
    w = pair.posterior(x, given).sample((2, 100))
    with pytest.raises(InferenceError, match=r"no reference: R-hat .* 3 divergences \(0\)"):
        against_draws(pair, {"w": w}, 3, x, given)
    apart = w + torch.arange(2.0)[:, None, None] * 10 * w.std()
    with pytest.raises(InferenceError, match=r"R-hat [1-9].* \(at most 1.01\), 0 divergences"):
        against_draws(pair, {"w": apart}, 0, x, given)
    with pytest.raises(InferenceError, match="NUTS draws v and the guide w"):
        against_draws(pair, {"v": w.flatten(0, 1).repeat(20, 1).view(2, -1, 2)}, 0, x, given)
