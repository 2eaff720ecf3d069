"""Evaluation of a pair: factors, masks, several latents and joint weights."""

import math

import pyro.distributions as dist
import pytest
import torch
from known import Chain, Tilted, Upwards, simulated
from pyro import poutine
from torch.distributions import kl_divergence

import data
from gallery.models.factor_analysis import FactorAnalysis
from gallery.models.linear_regression import LinearRegression
from inference import eval_mode, evaluate
from inference.evaluation.metrics import joint_iwae_variance


class Masked(FactorAnalysis):
    """Data whose first value is negative count for nothing."""

    def model(self, x, total=None):
        with poutine.mask(mask=x[:, 0] > 0):
            super().model(x, total)

    def guide(self, x, total=None):
        with poutine.mask(mask=x[:, 0] > 0):
            super().guide(x, total)


def test_a_factor_of_the_model_is_no_likelihood():
    metrics = evaluate(Tilted(), torch.zeros(4, 1), particles=400)
    expected = -math.log(2 * math.pi) / 2 - 0.25  # E log N(0; z, 1) for z ~ N(0, 1/2), the exact posterior
    assert abs(metrics["reconstruction"]["value"] - expected) < 4 * metrics["reconstruction"]["mc_se"]
    assert metrics["elbo"]["value"] == pytest.approx(-100 - math.log(4 * math.pi) / 2, rel=1e-6)


def test_masked_rows_count_for_nothing():
    pair, x, _ = simulated(50, Masked)  # its guide is exact, so no draw differs from another
    seen = x[:, 0] > 0
    assert 0 < seen.sum() < 50
    metrics = evaluate(pair, x, particles=3)
    for name in ("elbo", "iwae"):
        assert metrics[name]["value"] == pytest.approx(pair.log_evidence(x)[seen].sum().item() / 50, rel=1e-9)
    with eval_mode(pair):
        q = pair.posterior(x[seen])
        prior = dist.MultivariateNormal(torch.zeros(2, dtype=x.dtype), torch.eye(2, dtype=x.dtype))
        assert sum(metrics["kl_per_latent"]["z"]) == pytest.approx(kl_divergence(q, prior).sum().item() / 50, rel=1e-9)


@pytest.mark.parametrize("kind", [Chain, Upwards])
def test_kl_of_latents_sums_to_the_kl_whatever_the_order(kind):
    pair, x = kind().double(), torch.zeros(20_000, 1, dtype=torch.float64)
    metrics = evaluate(pair, x, particles=2)
    apart = sum(sum(kl) for kl in metrics["kl_per_latent"].values()) - metrics["kl"]["value"]
    assert abs(apart) < 4 * math.sqrt(3) * metrics["kl"]["mc_se"]  # one draw has twice the variance of the mean of two


def test_the_error_of_joint_weights_is_not_known_where_one_outweighs_them_all():
    dataset = data.load("line")
    assert "mc_se" not in evaluate(LinearRegression(), dataset.x, dataset.given)["iwae"]
    narrow = torch.zeros(16, 1, dtype=torch.float64).index_fill(0, torch.tensor(0), 50.0)
    assert joint_iwae_variance(narrow).isnan()
    assert joint_iwae_variance(torch.zeros(16, 1)) == 0
