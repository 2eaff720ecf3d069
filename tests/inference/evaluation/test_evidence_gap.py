"""The estimate of log p(x) - ELBO is KL(q || p), by quadrature, and 0 for the exact posterior."""

import math

import torch
from figure_cases import ExactGuide, PriorGuide
from scipy.integrate import quad

from inference.evaluation.evidence_gap import evidence_gap


def test_gap_is_the_kl_to_the_posterior():
    x = torch.tensor([[1.5], [0.0], [-1.0]], dtype=torch.float64)
    pair = PriorGuide().double()
    estimate, error = evidence_gap(pair, x, 20_000)
    for i, posterior in enumerate(x.squeeze(-1) - 1):
        p = pair.posterior(x[i : i + 1])

        def integrand(z, p=p):
            return math.exp(-z) * (-z - p.log_prob(torch.tensor([z], dtype=torch.float64)).item())

        kl, _ = quad(integrand, 0, 40, epsabs=1e-9)
        assert abs(estimate[i] - kl) < 5 * error[i], posterior
        assert error[i] < 0.05


def test_gap_of_the_exact_posterior_is_zero_to_the_last_bits():
    estimate, error = evidence_gap(ExactGuide(), torch.linspace(-3, 6, 30).unsqueeze(-1), 100)
    assert estimate.abs().max() < 1e-10
    assert error.max() < 1e-10
