"""Fit, evaluate, draw from, check and export pairs that are composed at random; compare with quadrature.

Each works in every engine or is refused in one line. Examples are the same in each run.
"""

from dataclasses import replace
from functools import partial

import families
import pyro
import pytest
import torch
from composed_pairs import Specification, at, make, specifications
from hypothesis import HealthCheck, example, given, settings
from quadrature import LATENTS, LIKELIHOODS, agrees
from small_pairs import N, arguments, holds

FIXED = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
few, hundreds = settings(FIXED, max_examples=4), settings(FIXED, max_examples=300)


def works(specification, engines, to, out):
    torch.manual_seed(0)
    build = partial(make, specification)
    batch_size = N // 2 if specification.plate == "subsampled" else N
    return holds(build, arguments(build(), specification.dtype), engines, to, out, batch_size)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("exports")


@few
@given(specifications())
@example(Specification("Normal", "Normal", "Beta", event="number"))  # x is (n,)
@example(Specification("Categorical", "Categorical", "GeneralizedPareto", enumerates="model", dtype=torch.float64))
@example(Specification("Categorical", "Categorical", "Normal", place="global", enumerates="model"))
@example(Specification("OneHotCategorical", "OneHotCategorical", "Normal", latent="vector", enumerates="model"))
def test_a_few_pairs_work_or_are_refused_in_one_line(out, specification):
    works(specification, ("pyro",), ("arviz",), out)


MOVING = {"Pareto", "Uniform"}  # their supports move: under a mask Pyro checks x at each step, a graph at the first
of_several_engines = specifications().filter(lambda s: not (s.has_mask and s.likelihood in MOVING))


@pytest.mark.slow
@hundreds
@given(of_several_engines)
def test_hundreds_of_pairs_work_or_are_refused_in_one_line(out, specification):
    works(specification, ("pyro", "graph"), ("arviz",), out)


@pytest.mark.slow
@settings(FIXED, max_examples=15)
@given(of_several_engines)
def test_pairs_compiled_and_as_onnx(out, specification):
    works(specification, ("pyro", "graph", "compiled"), ("arviz", "onnx"), out)


ANGLES = {"VonMises"}  # whose support torch calls real
SLOW = {"Stable", "StableWithLogProb"}  # whose densities are integrals


def of_one_number(but):
    """Draw specifications to which quadrature applies: one latent number, all densities known, a plate.

    :param but: names of families that no latent has
    """
    latents = [name for name in LATENTS if name not in but]
    mixing_rows = {"Empirical", "ExpandedDistribution"}  # the former is not expanded, the latter takes a row for all
    drawn = specifications(latents, [name for name in LIKELIHOODS if name not in mixing_rows], latents)
    drawn = drawn.filter(lambda s: s.place == "local" or not s.enumerates)
    return drawn.map(lambda s: replace(s, latent="number", place=s.place.split()[0], plate="full", dtype=torch.float64))


def compare_with_quadrature(specification):
    """Compare at two rows of x; if the pair is masked, the second is unknown."""
    torch.manual_seed(0)
    pair = make(specification)
    x, *known = args = tuple(a[:2] for a in arguments(pair, torch.float64))
    with torch.no_grad(), pyro.validation_enabled(False):  # x may have no density under a value of z
        prior = pair.prior(pair.theta["a"])
        values, volumes = families.grid(prior)
        likelihood = at(specification.likelihood, pair.out(values), pair.event)
        score = torch.stack([likelihood.log_prob(row.expand(len(values), *row.shape)) for row in x])
        if known:
            score = torch.where(known[0] > 0, score, 0.0)
        if specification.place == "global":
            score = score.sum(0, keepdim=True)
        if specification.enumerates == "model":  # the evidence, whatever stands for the guide
            log_q = prior.log_prob(values).expand(2, -1)
        elif specification.place == "global":
            log_q = pair.approximation(pair.phi["a"]).log_prob(values).unsqueeze(0)
        else:
            log_q = pair.approximation(pair.encoded(x)).log_prob(values.unsqueeze(1)).T
        log_joint = prior.log_prob(values) + score
        keep = (torch.isfinite(prior.log_prob(values)) & ~log_q.isnan() & ~log_joint.isnan()).all(0)
        agrees(pair, args, log_joint[:, keep], log_q[:, keep], volumes[keep], 50 if len(log_q) == 1 else 4000)


@settings(FIXED, max_examples=20)
@given(of_one_number(ANGLES | SLOW))
def test_a_few_pairs_agree_with_quadrature(specification):
    compare_with_quadrature(specification)


@pytest.mark.slow
@hundreds
@given(of_one_number(ANGLES))
def test_hundreds_of_pairs_agree_with_quadrature(specification):
    compare_with_quadrature(specification)
