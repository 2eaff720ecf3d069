"""Pairs that have a value for each data point, and run on all of them alone: the remedy printed is one that helps."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from inference import check_fit
from inference.contract import CLAUSES, Case
from inference.pairs.checks import BY_ROWS, ContractError

N = 12


class Rows(nn.Module):
    """Each data point has a parameter in the guide, taken by its row."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(N, 1))

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)) as rows:
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.mean(z, rows), 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module("own", self)
        with pyro.plate("data", total or len(x), subsample_size=len(x)) as rows:
            pyro.sample("z", dist.Normal(self.of(rows), 1.0).to_event(1))

    def mean(self, z, rows):
        return z

    def of(self, rows):
        return self.loc[rows]


class AllInGuide(Rows):
    def of(self, rows):
        return self.loc


class AllInLikelihood(Rows):
    def mean(self, z, rows):
        return z + self.loc

    def of(self, rows):
        return torch.zeros(len(rows), 1)


class AllInBoth(AllInGuide):
    def mean(self, z, rows):
        return z + self.loc


class WithoutPlate(Rows):
    def guide(self, x, total=None):
        pyro.module("own", self)
        pyro.sample("z", dist.Normal(self.loc, 1.0).to_event(1))


class InTheEvent(Rows):
    def guide(self, x, total=None):
        pyro.module("own", self)
        pyro.sample("z", dist.Normal(self.loc, 1.0).to_event(2))


class MissingEvent(Rows):
    def of(self, rows):
        return torch.zeros(len(rows), 3, 1)


CASES = [
    (AllInGuide, "as many as there are data points", BY_ROWS),
    (AllInLikelihood, "runs on all rows, and not on a minibatch of two", BY_ROWS),
    (AllInBoth, "runs on all rows, and not on a minibatch of two", BY_ROWS),
    (WithoutPlate, "one draw for all data", "inside the plate"),
    (InTheEvent, "stands in the plate 'data' in the model, and outside it in the guide", BY_ROWS),
    (MissingEvent, "z has 3 values", ".to_event(1)"),
]


@pytest.mark.parametrize(("cls", "fault", "remedy"), CASES, ids=[cls.__name__ for cls, *_ in CASES])
def test_the_remedy_is_that_of_the_cause(cls, fault, remedy):
    with pytest.raises(ContractError) as refused:
        check_fit(cls(), torch.zeros(N, 1))
    text = str(refused.value)
    assert fault in text
    assert remedy in text
    assert (BY_ROWS in text) == (remedy == BY_ROWS)
    case = Case(cls, (torch.zeros(N, 1),))
    found = [finding.text for name in ("plate", "shapes", "runs") for finding in CLAUSES[name](case)]
    assert any(remedy in one for one in found)
    check_fit(Rows(), torch.randn(N, 1, generator=torch.Generator().manual_seed(0)))  # what follows the remedy
