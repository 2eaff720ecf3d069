"""The nearest normals in both directions of the KL, against other quadrature and closed forms."""

import math

import pyro.distributions as dist
import pytest
import torch
from scipy.integrate import quad

from gallery.figures import (
    two_kls_fits,
)
from inference.evaluation.nearest_normals import nearest_normals


def reverse_kl(loc, scale, s, t, x, log_evidence):
    """KL(q || p) in closed form: the log joint is a polynomial in z of degree 4, whose normal moments are known."""
    m2 = loc**2 + scale**2
    m4 = loc**4 + 6 * loc**2 * scale**2 + 3 * scale**4
    joint = -0.5 * m2 / s**2 - 0.5 * (x**2 - 2 * x * m2 + m4) / t**2 - math.log(2 * math.pi * s * t)
    entropy = 0.5 + math.log(scale) + 0.5 * math.log(2 * math.pi)
    return -entropy - joint + log_evidence


@pytest.mark.parametrize(
    ("s", "t", "x"), [(1.0, 0.5, 1.5), (2.0, 0.3, 1.0), (1.0, 0.5, -0.5), (0.7, 1.0, 3.0), (5.0, 0.5, 9.0)]
)
def test_two_kls_against_other_quadrature_and_closed_forms(s, t, x):
    fits = two_kls_fits(s, t, x)

    def joint(z):
        return math.exp(-0.5 * (z / s) ** 2 - 0.5 * ((x - z * z) / t) ** 2) / (2 * math.pi * s * t)

    hump = math.sqrt(max(x, 0.0))

    def integral(f):
        return quad(f, -10 * s, 10 * s, points=[-hump, 0.0, hump], limit=500, epsabs=1e-13)[0]

    evidence = integral(joint)
    assert fits.log_evidence == pytest.approx(math.log(evidence), abs=1e-7)

    # KL(p || q): the moments, and the divergence at them
    assert fits.covering.loc == pytest.approx(0.0, abs=1e-8)
    variance = integral(lambda z: z * z * joint(z)) / evidence
    assert fits.covering.scale == pytest.approx(math.sqrt(variance), abs=1e-7)
    log_p = integral(lambda z: joint(z) * math.log(max(joint(z), 1e-300))) / evidence - math.log(evidence)
    assert fits.covering.kl == pytest.approx(log_p + 0.5 * math.log(2 * math.pi * variance) + 0.5, abs=1e-6)

    # KL(q || p): the divergence, and no better normal near by or at the other fit
    q = fits.seeking
    assert q.kl == pytest.approx(reverse_kl(q.loc, q.scale, s, t, x, fits.log_evidence), abs=1e-6)
    for dm, ds in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)):
        assert reverse_kl(q.loc + dm, q.scale + ds, s, t, x, fits.log_evidence) >= q.kl
    assert q.kl <= reverse_kl(0.0, fits.covering.scale, s, t, x, fits.log_evidence) + 1e-9
    assert min(q.kl, fits.covering.kl) >= 0
    hump = x - t**2 / s**2 / 2  # z^2 at the maxima of the density, if positive
    if hump > 2.5 * t:  # two humps far apart: q takes one of them, and is short of the other's half: log 2
        assert q.loc > 0.8 * math.sqrt(hump)
        assert q.kl == pytest.approx(math.log(2), abs=0.1)
        assert q.scale < 0.5 * fits.covering.scale


def test_nearest_normals_to_humps_of_unequal_mass():
    z = torch.linspace(-8, 8, 8001, dtype=torch.float64)
    left, right = (dist.Normal(*p).log_prob(z) for p in torch.tensor([[-2.0, 0.3], [3.0, 0.5]]).to(z))
    fits = nearest_normals(z, torch.logaddexp(math.log(0.7) + left, math.log(0.3) + right) - 5)
    assert fits.log_evidence == pytest.approx(-5, abs=1e-8)
    assert fits.seeking.loc == pytest.approx(-2, abs=1e-3)
    assert fits.seeking.scale == pytest.approx(0.3, abs=1e-3)
    assert fits.seeking.kl == pytest.approx(-math.log(0.7), abs=1e-4)
    assert fits.equal is None
    mean = 0.7 * -2 + 0.3 * 3
    assert fits.covering.loc == pytest.approx(mean, abs=1e-8)
    variance = 0.7 * (0.09 + 4) + 0.3 * (0.25 + 9) - mean**2
    assert fits.covering.scale == pytest.approx(math.sqrt(variance), abs=1e-8)
