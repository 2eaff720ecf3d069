"""The gap report: theorems on factor analysis, and what stands in for an unknown evidence.

Bars are 4 standard errors of the same draws, which one comparison in 16,000 exceeds by chance, unless a bound is named.
"""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import arguments, build
from known import close, factor_analysis
from torch.distributions import kl_divergence

from gallery.models.exponential_gaussian import ExponentialGaussian
from gallery.models.factor_analysis import DiagonalGuide, FactorAnalysis, FixedVarianceGuide
from gallery.models.vae import VAE
from inference import InferenceError, gap
from inference.evaluation.gap import _beside
from inference.guides.per_data_point import family
from inference.pairs.run import importance_traces
from inference.pairs.sites import latent_sites


def test_the_gap_of_factor_analysis_is_the_kl_to_the_posterior():
    pair, x = factor_analysis(1.4), torch.randn(40, 3, dtype=torch.float64)
    with torch.no_grad():
        pair.phi["V"].add_(0.1)
        q = dist.MultivariateNormal(x @ pair.phi["V"].T, scale_tril=pair.scale_tril())
        kl = kl_divergence(q, pair.posterior(x))
    report = gap(pair, x, draws=400, steps=500)
    mean, per_data_point = report["mean"], report["per_data_point"]
    assert abs(mean["gap"]["value"] - kl.mean().item()) < 4 * mean["gap"]["mc_se"]
    assert mean["evidence"]["of"] == "log p(x)"
    assert mean["amortisation_gap"]["value"] > 4 * mean["amortisation_gap"]["mc_se"]
    # the family holds the posterior; 5 parameters that are 1e-3 off, ten of Adam's last steps, at a scale of 1/2 cost
    assert abs(mean["approximation_gap"]["value"]) < 5 / 2 * (1e-3 / 0.5) ** 2
    close(per_data_point["gap"], per_data_point["approximation_gap"] + per_data_point["amortisation_gap"])
    assert abs(gap(factor_analysis(), x, draws=2, steps=1)["mean"]["gap"]["value"]) < 1e-8


@pytest.mark.parametrize("diagonal", [False, True])
def test_a_full_guide_at_the_identity_is_full(diagonal):
    pair = factor_analysis(cls=FixedVarianceGuide if diagonal else FactorAnalysis)
    if not diagonal:
        with torch.no_grad():
            pair.phi["L"].copy_(torch.eye(2))
    mean = gap(pair, torch.randn(10, 3, dtype=torch.float64), draws=100, steps=500)["mean"]
    assert not pair.scale_tril().tril(-1).any()
    assert ("diagonal_gap" in mean) == diagonal
    apart = mean["approximation_gap"]
    assert (abs(apart["value"]) < 4 * apart["mc_se"] + 5 / 2 * (1e-3 / 0.5) ** 2) != diagonal  # as above


class Blocks(VAE):
    """A normal whose Cholesky factor has two blocks that start at zero, and zeros between them."""

    def __init__(self, start):
        super().__init__(4, 4, (3,))
        self.factor = torch.nn.ParameterDict({"below": torch.full((2,), start)})

    def guide(self, x, total=None):
        pyro.module("factor", self.factor)
        L = torch.eye(4).index_put((torch.tensor([1, 3]), torch.tensor([0, 2])), self.factor["below"])
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.MultivariateNormal(x, scale_tril=L))


@pytest.mark.parametrize("start", [0.0, 0.3])
def test_zeros_that_no_weights_change_stay(start):
    pair, x = Blocks(start).eval(), (torch.rand(3, 4) > 0.5).float()
    with torch.no_grad():
        site = latent_sites(importance_traces(pair, (x,))[1])["z"]
        free, make = family(site["fn"], _beside(pair, (x,), torch.arange(3), "z"))
        L = make([value + 1 for value in free]).scale_tril
    kept = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]).bool()
    assert torch.equal(L != 0, kept.expand(3, 4, 4))
    assert pair.factor["below"].eq(start).all()


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


@pytest.mark.integration
def test_the_gap_where_the_evidence_is_not_known():
    class WithoutEvidence(ExponentialGaussian):
        log_evidence = None

    pair, x = WithoutEvidence().double(), torch.randn(30, 1, dtype=torch.float64) + 1
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
def test_gap_refuses(model, message):
    with pytest.raises(InferenceError, match=message):
        gap(build(model), *arguments(model))
