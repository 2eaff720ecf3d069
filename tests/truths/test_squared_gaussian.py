"""The squared Gaussian: evidence by other quadratures, and a guide that leaves one mode."""

import itertools
import math

import pytest
import scipy.integrate
import torch
from discrete_cases import fit

import data
from gallery.figures import two_kls_fits
from gallery.models.squared_gaussian import SquaredGaussian
from inference import encode
from inference.evaluation.evidence_gap import evidence_gap


@pytest.mark.parametrize(("s", "t"), [(1.0, 0.5), (1.0, 0.1), (2.0, 1.0), (0.5, 2.0)])
def test_squared_gaussian_evidence_and_variance_by_other_quadratures(s, t):
    x = torch.tensor([-3.0, 0.0, 0.3, 1.5, 4.0, 17.0], dtype=torch.float64) * s**2
    posterior = SquaredGaussian(s, t).double().posterior(x.unsqueeze(-1))
    for i, value in enumerate(x.tolist()):

        def joint(z, power=0, value=value):
            density = math.exp(-0.5 * ((z / s) ** 2 + ((value - z * z) / t) ** 2)) / (2 * math.pi * s * t)
            return z**power * density

        hump = math.sqrt(max(value, 0.0))
        width = t / (2 * hump + math.sqrt(t))
        edges = sorted({0.0, *(max(0.0, hump + c * width) for c in (-8, -2, 2, 8)), 9 * s})
        mass, second = (
            2 * sum(scipy.integrate.quad(joint, *ends, (p,), epsabs=1e-14)[0] for ends in itertools.pairwise(edges))
            for p in (0, 2)
        )
        assert posterior.log_evidence[i].item() == pytest.approx(math.log(mass), abs=1e-6)
        assert posterior.variance[i].item() == pytest.approx(second / mass, rel=1e-6)
    value = 1.5 * s**2  # the figure of both KLs has a quadrature of its own
    assert posterior.log_evidence[3].item() == pytest.approx(two_kls_fits(s, t, value).log_evidence, abs=1e-6)
    single = SquaredGaussian(s, t).log_evidence(x.float().unsqueeze(-1))
    torch.testing.assert_close(single.double(), posterior.log_evidence, atol=1e-5, rtol=1e-6)


def test_squared_gaussian_guide_pays_log_2_for_the_hump_that_it_leaves():
    x = data.load("squared_gaussian").x
    pair, at = fit(SquaredGaussian(), x, "squared_gaussian", epochs=15), torch.tensor([[2.5], [4.0]])
    missing, error = evidence_gap(pair, at, 4000)
    for i, value in enumerate(at.squeeze(-1).tolist()):
        best = two_kls_fits(x=value).seeking.kl  # of all normals
        assert best == pytest.approx(math.log(2), abs=0.02)
        assert -4 * error[i] < missing[i] - best < 0.2
    assert (encode(pair, at)["z"].abs() - at.squeeze(-1).sqrt()).abs().max() < 0.2  # one hump, not the mean 0
    torch.testing.assert_close(pair.posterior(at).mean, torch.zeros(2).view(2, 1)[:, 0])
