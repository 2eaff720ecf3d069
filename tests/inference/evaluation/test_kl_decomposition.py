"""The parts of the KL of a code: an identity of the same draws, and quadrature in one and two dimensions."""

import json
import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import arguments, build
from scipy.integrate import dblquad, quad
from torch import nn

from gallery.models.ppca import PPCA
from gallery.runs.report import metrics_table
from inference import InferenceError
from inference.evaluation.kl_decomposition import kl_decomposition
from inference.evaluation.mutual_information import mutual_information

PARTS = ("mutual_information", "total_correlation", "dimensionwise_kl")
COPIES = 1000  # of each data point: the aggregate is that of the few


def linear(W, scale):
    """PPCA whose guide has the means x W' and these standard deviations."""
    pair = PPCA(W.shape[1], len(W), sigma=1.0).double()
    with torch.no_grad():
        pair.phi["V"].copy_(W)
        pair.phi["log_s"].copy_(torch.tensor(scale).log())
    return pair


def eye(d):
    return torch.eye(d, dtype=torch.float64)


def integrands(points, scale):
    """Densities of the aggregate of `points`, (n, d), and of each of its coordinates, as functions of numbers."""

    def normal(z, mean, s):
        return np.exp(-0.5 * ((z - mean) / s) ** 2) / (s * math.sqrt(2 * math.pi))

    def joint(*z):
        return np.prod([normal(z[j], points[:, j], scale[j]) for j in range(len(z))], axis=0).mean()

    return joint, [lambda z, j=j: normal(z, points[:, j], scale[j]).mean() for j in range(points.shape[1])]


def by_quadrature(points, scale):
    joint, marginals = integrands(points, scale)
    reach = np.abs(points).max() + 9 * max(scale)

    def divergence(q):
        """Return KL(q || Normal(0, 1)) of a density."""
        return quad(lambda z: q(z) * (math.log(q(z)) + z * z / 2 + math.log(2 * math.pi) / 2), -reach, reach)[0]

    each = [divergence(q) for q in marginals]
    if len(marginals) == 1:
        return sum(each), 0.0
    first, second = marginals
    correlation = dblquad(
        lambda b, a: joint(a, b) * math.log(joint(a, b) / (first(a) * second(b))), -6, 6, -6, 6, epsabs=1e-5
    )[0]
    return sum(each), correlation


@pytest.mark.parametrize("points", [[[-1.0], [0.5], [2.0]], [[-1.0, -1.2], [0.5, 0.8], [1.3, 1.0]]])
def test_each_part_is_that_by_quadrature(points):
    scale, x = [0.8, 0.6][: len(points[0])], torch.tensor(points, dtype=torch.float64)
    found = kl_decomposition(linear(eye(len(scale)), scale), x.repeat(COPIES, 1), n=3 * COPIES)
    each, correlation = by_quadrature(np.array(points), scale)
    kl = (x.square() / 2 + torch.tensor(scale).square() / 2 - 0.5 - torch.tensor(scale).log()).sum(1).mean().item()
    information = kl - correlation - each
    assert 0.1 < information < math.log(3) - 0.1
    exact = {"kl": kl, "mutual_information": information, "total_correlation": correlation, "dimensionwise_kl": each}
    for name, value in exact.items():
        assert abs(found[name]["value"] - value) < 4 * found[name]["se"] + 1e-8, name
    assert sum(found["dimensionwise_kl"]["coordinates"]) == pytest.approx(found["dimensionwise_kl"]["value"], abs=1e-10)
    if len(scale) == 1:
        assert found["total_correlation"]["value"] == pytest.approx(0, abs=1e-8)
    else:
        assert correlation > 0.1


@pytest.mark.parametrize("n", [2, 30])
@pytest.mark.parametrize("name", ["ppca", "vae", "exponential_gaussian", "cvae:standard", "squared_gaussian"])
def test_the_parts_sum_to_the_kl_at_the_same_draws(name, n, monkeypatch):
    pair, (x, *given) = build(name).double(), arguments(name, torch.float64)
    rows = torch.arange(n) % len(x)
    x, given = x[rows], [of[rows] for of in given]
    found = kl_decomposition(pair, x, *given, seed=n)
    assert sum(found[part]["value"] for part in PARTS) == pytest.approx(found["kl"]["value"], abs=1e-8)
    assert found["mutual_information"]["value"] <= math.log(n) + 1e-10
    alone = mutual_information(pair, x, *given, seed=n)
    assert (found["mutual_information"], found["kl"]) == (alone["mutual_information"], alone["kl"])
    monkeypatch.setattr("inference.evaluation.kl_decomposition.MAX_ELEMENTS", 3 * n)
    parted = kl_decomposition(pair, x, *given, seed=n)
    for name in PARTS:
        assert parted[name]["value"] == pytest.approx(found[name]["value"], abs=1e-12)


def test_codes_that_name_their_data_point_and_a_code_that_names_nothing():
    """Two distinct codes on a diagonal: the index once, and once more what each coordinate says of the other."""
    x, s = torch.tensor([[3.0, 3.0], [-3.0, -3.0]], dtype=torch.float64), 0.1
    found = kl_decomposition(linear(eye(2), [s, s]), x.repeat(COPIES, 1))
    one = (9 + s**2 - 1) / 2 - math.log(s)  # KL of a coordinate of one data point
    assert found["mutual_information"]["value"] == pytest.approx(math.log(2), abs=1e-8)
    assert found["total_correlation"]["value"] == pytest.approx(math.log(2), abs=1e-8)
    part = found["dimensionwise_kl"]
    assert abs(part["value"] - 2 * (one - math.log(2))) < 4 * part["se"]
    found = kl_decomposition(linear(0 * eye(2), [1.0, 1.0]), x.repeat(20, 1))
    assert all(abs(entry["value"]) < 1e-10 for entry in found.values())


class Plane(nn.Module):
    """z of two coordinates whose prior is independent, or not."""

    def __init__(self, prior):
        super().__init__()
        self.prior, self.V = prior, nn.Parameter(torch.ones(2, 2))

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", self.prior.expand((len(x),)))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module("guide", self)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Laplace(x @ self.V, 1.0).to_event(1))


def test_any_guide_with_a_density_by_coordinate_has_parts():
    zero = torch.zeros(2)
    found = kl_decomposition(Plane(dist.Normal(zero, 1.0).to_event(1)).double(), torch.randn(9, 2).double())
    assert sum(found[part]["value"] for part in PARTS) == pytest.approx(found["kl"]["value"], abs=1e-8)
    with pytest.raises(InferenceError, match="Plane has no parts by coordinate: z is MultivariateNormal in the prior"):
        kl_decomposition(Plane(dist.MultivariateNormal(zero, torch.eye(2))), torch.randn(9, 2))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("factor_analysis", "MultivariateNormal in the guide; expected independent coordinates"),
        ("linear_regression", "a latent is global"),
        ("autoencoder", "point"),
        ("cvae", "the prior of z is not the same"),
    ],
)
def test_other_codes_are_refused_in_one_line(name, words):
    with pytest.raises(InferenceError, match=words) as caught:
        kl_decomposition(build(name), *arguments(name))
    assert "\n" not in str(caught.value)


def test_a_table_has_the_parts_below_their_sum():
    entries = {"kl_parts": kl_decomposition(linear(eye(2), [0.5, 0.5]), torch.randn(20, 2).double())}
    entries = json.loads(json.dumps(entries))
    table = metrics_table(entries, "ppca", "mine", "test")
    labels = [line.strip().split("  ")[0] for line in table[1:5]]
    assert labels == ["KL of the codes", "= information", "+ total correlation", "+ KL by coordinate"]
