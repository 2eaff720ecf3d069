"""Fit, evaluate, draw from, check and export pairs over all distributions of torch and Pyro.

Each works or is refused in one line, and estimates agree with quadrature.
"""

import math
import warnings
from functools import partial

import families
import pyro
import pyro.distributions as dist
import pytest
import small_pairs
import torch
from families import FAMILIES, NUMBERS, TORCH
from quadrature import LATENTS, LIKELIHOODS, agrees
from small_pairs import Masked, Small, arguments, holds

# A distribution of each kind that has been a fault. Those of the second list are run by the slow tests alone.
FEW = [
    ("LinearHMM", "likelihood", "vector", ()),  # without a log-density
    ("ImproperUniform", "local", "vector", ()),  # without draws
    ("ProjectedNormal", "local", "vector", ("graph",)),  # branches on values
    ("RelaxedOneHotCategoricalStraightThrough", "local", "vector", ()),  # is scored by more than its value
    ("CoalescentTimes", "local", "vector", ("graph",)),  # reads its noise as a list
    ("torch Normal", "local", "vector", ()),
]
MORE = [
    ("Poisson", "likelihood", "vector", ()),
    ("TransformedDistribution", "local", "number", ()),
    ("Wishart", "local", "vector", ()),  # torch differentiates its KL
    ("Normal", "global", "vector", ()),
]


def case(name, role, shape, masked=False, enumerates=""):
    torch.manual_seed(0)
    make = partial(Masked if masked else Small, name, role, small_pairs.SHAPES[shape], enumerates)
    return make, arguments(make())


def test_every_distribution_is_in_a_table():
    assert families.unlisted() == []
    assert not FAMILIES.keys() & families.EXCLUDED.keys()


@pytest.mark.parametrize(("name", "role", "shape", "engines"), FEW)
def test_few(name, role, shape, engines, tmp_path):
    holds(*case(name, role, shape), ("pyro", *engines), ["arviz"], tmp_path)


def has_rsample(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FAMILIES[name](torch.zeros(2, 3)).has_rsample


FEW_SCORED = ("LKJ", "Poisson")
SCORED = [name for name in FAMILIES if not has_rsample(name)]


@pytest.mark.parametrize("role", ["local", "global"])
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in FEW_SCORED)) for n in SCORED])
def test_draws_without_a_gradient_pass_the_check_where_they_are_fitted(name, role, monkeypatch):
    """By the default objective, with the score function at such draws."""
    monkeypatch.setattr(small_pairs, "objective", lambda pair: "trace")
    refusals = holds(*case(name, role, "vector"))
    if "is the first value that is not" not in str(refusals.get("fit pyro")):
        breaches = name in families.BREACHES
        assert ("check" in refusals) == ("fit pyro" in refusals or breaches), refusals


@pytest.mark.slow
@pytest.mark.parametrize(("name", "role", "shape", "engines"), [*FEW, *MORE])
def test_few_compiled_and_as_onnx(name, role, shape, engines, tmp_path):
    holds(*case(name, role, shape), ("pyro", "graph", "compiled"), ["onnx"], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("role", small_pairs.ROLES)
@pytest.mark.parametrize("name", [*FAMILIES, *TORCH])
def test_all(name, role, tmp_path):
    holds(*case(name, role, "vector"), ("pyro", "graph"), ["arviz"], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FAMILIES])
def test_unknown_values_and_matrices(name, tmp_path):
    holds(*case(name, "likelihood", "vector", masked=True), to=["arviz"], out=tmp_path, batch_size=6)
    holds(*case(name, "likelihood", "matrix"))


ENUMERATED = [name for name in NUMBERS if NUMBERS[name](torch.zeros(2)).has_enumerate_support]


@pytest.mark.slow
@pytest.mark.parametrize("enumerates", ["both", "model"])
@pytest.mark.parametrize("name", ENUMERATED)
def test_enumerated(name, enumerates, tmp_path):
    holds(*case(name, "local", "number", enumerates=enumerates), ("pyro", "graph"), ["arviz"], tmp_path)


def check_latent(name):
    make, (x,) = case(name, "local", "number")
    pair, x = make().double(), x[:2].double()
    with torch.no_grad():  # a guide near the prior, so that the weights vary little
        pair.encoder.weight.mul_(0.1)
        pair.encoder.bias.copy_(pair.theta["a"] + 0.05)
        prior = pair.family(pair.theta["a"])
        values, volumes = families.grid(prior)
        log_q = pair.family(pair.encoder(x)[:, 0]).log_prob(values.unsqueeze(1)).T
        prior = prior.log_prob(values)
        likelihood = dist.Normal(pair.mean(values, x).unsqueeze(0), 1.0).log_prob(x.unsqueeze(1)).sum(-1)
        keep = torch.isfinite(prior) & torch.isfinite(log_q).all(0)
        agrees(pair, (x,), (prior + likelihood)[:, keep], log_q[:, keep], volumes[keep])


def check_likelihood(name):
    torch.manual_seed(0)
    pair = Small(name).double()
    x = arguments(pair, torch.float64)[0][:2]
    with torch.no_grad(), pyro.validation_enabled(False):  # x may have no density under a value of z
        pair.encoder.weight.mul_(0.0)
        pair.encoder.bias.copy_(torch.tensor([0.1, 1.0]))
        values = torch.linspace(-15, 15, 1001, dtype=torch.float64)
        volumes = torch.full_like(values, math.log(values[1] - values[0]))
        fn = pair.family(pair.out(values))
        score = torch.stack([fn.log_prob(row.expand(len(values), *row.shape)) for row in x])
        prior = dist.Normal(0.0, 1.0).log_prob(values)
        log_q = dist.Normal(0.1, torch.nn.functional.softplus(torch.tensor(1.0).double()) + 0.5).log_prob(values)
        agrees(pair, (x,), prior + score, log_q.expand(len(x), -1), volumes)


@pytest.mark.parametrize("name", ["Cauchy"])
def test_a_few_latents_agree_with_quadrature(name):
    check_latent(name)


@pytest.mark.parametrize("name", ["Dirichlet"])
def test_a_few_likelihoods_agree_with_quadrature(name):
    check_likelihood(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", LATENTS)
def test_latents_agree_with_quadrature(name):
    check_latent(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_likelihoods_agree_with_quadrature(name):
    check_likelihood(name)
