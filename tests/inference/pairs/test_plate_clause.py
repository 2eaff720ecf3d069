"""The clause on plates: global latents in a plate beside that of the data, and what is refused in one line."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoNormal

from gallery.models.item_response import Bayesian, ItemResponse
from inference import SVI, Settings
from inference.contract import CLAUSES, Case
from inference.pairs.checks import ContractError


def answers():
    return (torch.arange(30).reshape(6, 5) % 3 > 0).float()


class Auto(Bayesian):
    """The items have an autoguide."""

    def __init__(self, data_dim=5):
        super().__init__(data_dim)
        del self.q
        self.auto = AutoNormal(poutine.block(self.model, expose=["a", "b"]))
        with pyro.get_param_store().scope():
            self.auto(torch.zeros(2, data_dim))

    def guide(self, x, total=None):
        pyro.module("auto", self.auto)
        self.auto(x, total)
        ItemResponse.guide(self, x, total)


def test_an_autoguide_may_draw_items():
    case = Case(Auto, (answers(),))
    assert [
        finding.text for name in ("autoguides", "sites", "plate", "shapes") for finding in CLAUSES[name](case)
    ] == []


class Nested(Bayesian):
    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), x.new_ones(())))
            with pyro.plate("items", self.data_dim):
                a = pyro.sample("a", dist.LogNormal(x.new_zeros(()), 0.5))
                b = pyro.sample("b", dist.Normal(x.new_zeros(()), 2.0))
            pyro.sample("x", self.answers(z, a.T, b.T, x), obs=x.nan_to_num())


class Second(Bayesian):
    dims = {"dim": -2}

    def model(self, x, total=None):
        with pyro.plate("items", self.data_dim, **self.dims):
            a = pyro.sample("a", dist.LogNormal(x.new_zeros(()), 0.5)).reshape(-1)
            b = pyro.sample("b", dist.Normal(x.new_zeros(()), 2.0)).reshape(-1)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), x.new_ones(())))
            pyro.sample("x", self.answers(z, a.unsqueeze(-2), b.unsqueeze(-2), x), obs=x.nan_to_num())


class Subsampled(Second):
    dims = {"subsample_size": 1}


class Enumerated(Bayesian):
    def model(self, x, total=None):
        with pyro.plate("items", self.data_dim):
            pyro.sample("kept", dist.Bernoulli(x.new_full((), 0.5)), infer={"enumerate": "parallel"})
        super().model(x, total)


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (Nested, "site a is in the plates 'data' .*, 'items' .*; expected 'data' .* alone.*to_event"),
        (Second, "site a is in the plates 'items' \\(dim -2\\); expected"),
        (Subsampled, "plate 'items' has size 5, subsample_size 1; expected subsample_size 5"),
        (Enumerated, "kept is enumerated in the plate 'items'.*loo:2"),
    ],
)
def test_other_plates_are_refused_in_one_line(cls, words):
    objective = "enum" if cls is Enumerated else "trace"
    with pytest.raises(ContractError, match=words) as caught:
        SVI(cls(), answers(), settings=Settings(objective=objective))
    assert "\n" not in str(caught.value)
