"""The exponential-Gaussian model: evidence, posterior and truncated normal against quadrature."""

import math

import pytest
import scipy.integrate
import torch

import data
from gallery.catalogue.recipes import RECIPES
from gallery.models.exponential_gaussian import ExponentialGaussian, TruncatedNormal
from inference import SVI, Settings, eval_mode, log_weights
from inference.pairs.run import importance_traces
from inference.pairs.sites import latent_sites


def fit(pair, dataset, **settings):
    for _ in SVI(pair, dataset.x, dataset.given, Settings(**settings)):
        pass
    return pair


def guide_of(pair, *args):
    with eval_mode(pair):
        return next(iter(latent_sites(importance_traces(pair, args)[1]).values()))["fn"]


@pytest.mark.parametrize("x", [-3.0, 0.0, 1.5, 7.0])
def test_exponential_gaussian_evidence_and_posterior_by_quadrature(x):
    def joint(z, power=0):
        return z**power * math.exp(-z - 0.5 * (x - z) ** 2) / math.sqrt(2 * math.pi)

    mass, first, second = (scipy.integrate.quad(joint, 0, 30, (p,), epsabs=1e-13)[0] for p in range(3))
    pair, at = ExponentialGaussian().double(), torch.tensor([[x]], dtype=torch.float64)
    posterior = pair.posterior(at)
    assert pair.log_evidence(at).item() == pytest.approx(math.log(mass), abs=1e-6)
    assert posterior.mean.item() == pytest.approx(first / mass, abs=1e-6)
    assert posterior.variance.item() == pytest.approx(second / mass - (first / mass) ** 2, abs=1e-6)
    z = torch.tensor(0.7, dtype=torch.float64)
    assert posterior.log_prob(z).item() == pytest.approx(math.log(joint(0.7) / mass), abs=1e-6)


@pytest.mark.parametrize(
    ("dtype", "loc"),
    [(torch.float32, loc) for loc in (-6.0, 0.0, 8.0)] + [(torch.float64, loc) for loc in (-200.0, -30.0, -6.0, 8.0)],
)
def test_truncated_normal_draws_and_gradients_far_into_the_tail(loc, dtype):
    """Draws have the mean they should; d z / d loc has the mean d E[z] / d loc, which is variance / scale^2."""
    n = 40_000
    at = torch.full((n,), loc, dtype=dtype, requires_grad=True)
    z = TruncatedNormal(at, torch.ones(n, dtype=dtype)).rsample()
    (slope,) = torch.autograd.grad(z.sum(), at)
    assert (z >= 0).all()
    assert slope.isfinite().all()
    with torch.no_grad():
        a = torch.tensor(abs(loc), dtype=torch.float64)
        exact = TruncatedNormal(torch.tensor(loc, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
        mean, variance = (exact.mean, exact.variance) if loc > -20 else (1 / a - 2 / a**3, 1 / a**2 - 6 / a**4)
    for draws, expected in ((z, mean), (slope, variance)):
        error = draws.double().std() / math.sqrt(n)
        assert abs(draws.double().mean() - expected) < 4 * error + 1e-3 * expected


@pytest.mark.parametrize("loc", [-10.0, -20.0, -40.0, -100.0, -1000.0])
@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_moments_of_a_truncated_normal_keep_their_digits_far_in_the_tail(loc, scale):
    """Against scale (1/a - 2/a^3 + 10/a^5 ...) and scale^2 (1/a^2 - 6/a^4 + 50/a^6 ...), bounded by the last terms."""
    a = -loc
    q = TruncatedNormal(torch.tensor(loc * scale), torch.tensor(scale))
    for moment, unit, terms in (
        (q.mean, scale, (1 / a, -2 / a**3, 10 / a**5, -74 / a**7)),
        (q.variance, scale**2, (1 / a**2, -6 / a**4, 50 / a**6, -518 / a**8)),
    ):
        assert moment.dtype == torch.float32
        error = abs(moment.item() / unit - sum(terms))
        rounding = 1e-6 * terms[0] + 2**-50 * a**2  # float32 of loc, scale and moment; float64 of a difference of a^2
        assert error < abs(terms[-1]) + rounding


def test_truncated_normal_guide_reaches_the_evidence():
    dataset = data.load("exponential_gaussian")
    pair = fit(ExponentialGaussian(), dataset, **RECIPES["exponential_gaussian"].settings | {"epochs": 15})
    for x in (0.0, 1.5):
        at = torch.tensor([[x]])
        q, p = guide_of(pair, at), pair.posterior(at)
        z = p.sample((20_000,))
        assert pair.log_evidence(at).item() == pytest.approx(0.5 - x + math.log(0.5 * math.erfc((1 - x) / 2**0.5)))
        with eval_mode(pair):
            elbo = log_weights(pair, at, k=20_000)
        error = elbo.std().item() / math.sqrt(len(elbo))
        gap = pair.log_evidence(at).item() - elbo.mean().item()
        assert -4 * error < gap < 0.01
        assert (p.log_prob(z) - q.log_prob(z)).mean() < 0.01
