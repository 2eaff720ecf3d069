"""A guide with values for each data point is recognised by its use of the plate's indices, not by its draws."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from inference import Settings, evaluate, svi
from inference.pairs.handlers import OffsetRows
from inference.pairs.info import inspect_pair
from inference.pairs.run import eval_mode, importance_traces

N = 6


class Local(nn.Module):
    """z_i ~ Normal(mu, 1), x_i ~ Normal(z_i, 1); mu is global or 0. The guide's means are all 0 at the start."""

    def __init__(self, pick, has_global=False):
        super().__init__()
        self.loc, self.mu = nn.Parameter(torch.zeros(N, 1)), nn.Parameter(torch.zeros(()))
        self.pick, self.has_global = pick, has_global

    def model(self, x, total=None):
        mu = pyro.sample("mu", dist.Normal(x.new_zeros(()), 1.0)) if self.has_global else x.new_zeros(())
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(mu.expand(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module("own", self)
        if self.has_global:
            pyro.sample("mu", dist.Normal(self.mu, 1.0))
        with pyro.plate("data", total or len(x), subsample_size=len(x)) as rows:
            pyro.sample("z", dist.Normal(self.pick(self.loc, rows, x), 0.7).to_event(1))


USES = {
    "index": lambda loc, rows, x: loc[rows],
    "index of a tuple": lambda loc, rows, x: loc[rows, :],
    "index_select": lambda loc, rows, x: loc.index_select(0, rows),
    "embedding": lambda loc, rows, x: nn.functional.embedding(rows, loc),
    "gather": lambda loc, rows, x: loc.gather(0, rows.unsqueeze(1)),
    "one_hot": lambda loc, rows, x: nn.functional.one_hot(rows, N).to(loc) @ loc,
}
NONE = {
    "amortised": lambda loc, rows, x: 0.5 * x + loc[0],
    "length": lambda loc, rows, x: loc[0].expand(len(rows), 1) + 0 * x.new_zeros(rows.shape[0], 1),
    "device": lambda loc, rows, x: loc.to(rows.device)[: rows.numel()] * 0 + x,
}


@pytest.mark.parametrize("has_global", [False, True])
@pytest.mark.parametrize("use", USES)
def test_a_use_of_the_indices_is_recognised_at_equal_parameters(use, has_global):
    x = torch.arange(float(N)).unsqueeze(1)
    pair = Local(USES[use], has_global)
    assert inspect_pair(pair, (x,)).is_per_data_point
    svi(pair, x, settings=Settings(epochs=3, batch_size=2, lr=0.1))
    held_out, fitted = evaluate(pair, x), evaluate(pair, x, held_out=False)
    assert set(held_out["undefined"]) - {"se"} == {"elbo", "iwae", "kl", "reconstruction"}
    assert ("se" in held_out["undefined"]) is has_global
    assert "elbo" not in held_out
    assert "elbo" in fitted


@pytest.mark.parametrize("has_global", [False, True])
@pytest.mark.parametrize("use", NONE)
def test_a_guide_that_ignores_the_indices_is_evaluated_on_new_data(use, has_global):
    x = torch.arange(float(N)).unsqueeze(1)
    pair = Local(NONE[use], has_global)
    assert not inspect_pair(pair, (x,)).is_per_data_point
    assert "elbo" in evaluate(pair, x)


def test_rows_that_do_not_start_at_0_have_their_own_parameters():
    x = torch.arange(float(N)).unsqueeze(1)
    pair = Local(USES["index"])
    with torch.no_grad():
        pair.loc.copy_(10 * x)
    with eval_mode(pair), OffsetRows(2):
        _, guide = importance_traces(pair, (x[2:5],))
    assert torch.equal(guide.nodes["z"]["fn"].mean, 10 * x[2:5])
