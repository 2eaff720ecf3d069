"""What a distribution may lack is read in one place, which answers or states that it is undefined."""

import ast
from pathlib import Path

import pyro.distributions as dist
import pytest
import torch
from one_line_changed import Bare
from pyro.distributions import transforms

import inference
from inference.pairs.properties import UndefinedError, is_reparametrised, values_of


class Silent(Bare):
    """It states neither its support nor whether its draws are reparametrised, nor lists its values."""

    @property
    def has_rsample(self):
        raise NotImplementedError


ZERO = torch.zeros(2)
REPARAMETRISED = [
    (dist.Normal(ZERO, 1.0), True),
    (dist.Normal(ZERO, 1.0).expand([3, 2]).to_event(1).mask(False), True),
    (dist.MixtureSameFamily(dist.Categorical(logits=ZERO), dist.Normal(ZERO, 1.0)), False),
    (dist.TransformedDistribution(dist.Normal(ZERO, 1.0), [transforms.ExpTransform()]), True),
    (dist.TransformedDistribution(dist.Poisson(ZERO + 1), [transforms.AffineTransform(0.0, 2.0)]), False),
    (dist.Bernoulli(logits=ZERO), False),
    (dist.Bernoulli(logits=ZERO).expand([3, 2]).to_event(2).mask(True), False),
    (dist.RelaxedBernoulliStraightThrough(ZERO + 1, logits=ZERO), True),
    (Silent(ZERO), False),
]


@pytest.mark.parametrize(("fn", "expected"), REPARAMETRISED)
def test_whether_draws_are_reparametrised_is_stated_or_false(fn, expected):
    assert is_reparametrised(fn) == expected


@pytest.mark.parametrize("wrapped", [lambda fn: fn, lambda fn: fn.mask(False), lambda fn: fn.expand([3, 2])])
def test_values_are_listed_or_undefined(wrapped):
    assert values_of(wrapped(dist.Bernoulli(logits=ZERO))).flatten().tolist() == [0.0, 1.0]
    assert len(values_of(wrapped(dist.Categorical(logits=torch.zeros(2, 4))))) == 4
    for fn in (dist.Poisson(ZERO + 1), dist.Normal(ZERO, 1.0), Silent(ZERO)):
        with pytest.raises(UndefinedError, match="has no list of its values"):
            values_of(wrapped(fn))


def test_what_a_distribution_may_lack_is_read_in_one_place():
    """Attributes of an object's own, as `self.support`, are no such reading."""
    found = []
    for file in Path(inference.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())) if file.name != "properties.py" else ():
            read = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
            if read and node.attr in ("has_rsample", "enumerate_support", "has_enumerate_support", "support"):
                found.append(f"{file.name}: {ast.unparse(node)}")
    assert {one for one in found if not one.endswith((": self.support", ": latent.support"))} == set()
