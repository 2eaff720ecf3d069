"""A model with a parameter for each data point of its fit: each function runs it at the rows that are stated."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from inference import FittedRows, InferenceError, ais, bdmc, evaluate, gap, nuts, sample
from inference.evaluation.log_weights import iwae, iwae_variance

ROWS, FIRST, N = 12, 5, 3


class Offsets(nn.Module):
    """x_i = b_i + z_i + noise, with b_i = 100 i: another row's parameter changes log p(x) by thousands of nats."""

    def __init__(self):
        super().__init__()
        self.b = nn.Embedding.from_pretrained(100 * torch.arange(ROWS, dtype=torch.float64).unsqueeze(1), freeze=False)
        self.a = nn.Parameter(torch.tensor(0.4, dtype=torch.float64))

    def model(self, x, total=None):
        pyro.module("b", self.b)
        with pyro.plate("data", total or len(x), subsample_size=len(x)) as rows:
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1) + self.b(rows), 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.param("a", self.a)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Normal(self.a * (x[:, 0] % 100), 0.8))

    def log_evidence(self, x):
        return dist.Normal(0.0, 2**0.5).log_prob(x[:, 0] % 100)


@pytest.fixture
def x():
    return 100.0 * torch.arange(FIRST, FIRST + N, dtype=torch.float64).unsqueeze(1) + torch.tensor(
        [[0.5], [1.0], [2.0]]
    )


def test_annealing_and_the_gap_are_of_the_stated_rows(x):
    with FittedRows(FIRST):
        weights, report = ais(Offsets(), x, chains=40, steps=10, leapfrog=2), gap(Offsets(), x, steps=10)
    apart = iwae(weights) - Offsets().log_evidence(x)
    assert (apart.abs() < 4 * iwae_variance(weights).sqrt()).all()
    assert (report["per_data_point"]["gap"].abs() < 1).all()


def test_draws_are_those_of_the_stated_rows(x):
    for first in (0, FIRST):
        with FittedRows(first):
            drawn = sample(Offsets(), x, N)["x"][:, 0]
        assert ((drawn - 100 * torch.arange(first, first + N)).abs() < 10).all()
    bounds = bdmc(Offsets(), x, N, chains=2, steps=2, leapfrog=2)
    assert bounds["lower"]["value"] > -10


@pytest.mark.parametrize(
    "run",
    [ais, partial(nuts, draws=4, warmup=1), lambda pair, x: sample(pair, x, len(x)), partial(evaluate, held_out=False)],
)
def test_rows_without_parameters_are_refused(x, run):
    with pytest.raises(InferenceError, match="some have no parameters"), FittedRows(ROWS - 1):
        run(Offsets(), x)
    if run is ais:
        with pytest.raises(InferenceError, match="is not stated"):
            run(Offsets(), x)
