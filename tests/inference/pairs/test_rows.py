"""A guide with values for each data point is recognised by its use of the plate's indices, not by its draws."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from inference import (
    FittedRows,
    InferenceError,
    Settings,
    calibration_ranks,
    collapsed,
    encode,
    evaluate,
    gap,
    log_weights,
    monitor_elbo,
    predictive_check,
    reconstruct,
    svi,
)
from inference.pairs.handlers import stated_rows
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
    with eval_mode(pair), FittedRows(2):
        _, guide = importance_traces(pair, (x[2:5],))
    assert torch.equal(guide.nodes["z"]["fn"].mean, 10 * x[2:5])


def seeded_log_weights(pair, x):
    with eval_mode(pair, 0):
        return log_weights(pair, x)


LIBRARY = {
    "encode": encode,
    "reconstruct": reconstruct,
    "monitor_elbo": monitor_elbo,
    "collapsed": collapsed,
    "log_weights": seeded_log_weights,
    "gap": lambda pair, x: gap(pair, x, draws=2, steps=1, chains=2, temperatures=2),
    "predictive_check": lambda pair, x: predictive_check(pair, x, lambda x: x.std(), replicates=2),
}


def values_of(found):
    return [f"{found}"] if not isinstance(found, dict) else [f"{value}" for value in found.values()]


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_runs_such_a_guide_on_stated_rows_alone(name):
    """Its parameters are those of the rows that are stated; other pairs need no statement."""
    use, x = LIBRARY[name], torch.arange(float(N)).unsqueeze(1)
    pair = Local(USES["index"])
    with torch.no_grad():
        pair.loc.copy_(x)
    with pytest.raises(InferenceError, match=r"which of them x are is not stated.*with FittedRows\(i\)") as refused:
        use(pair, x[4:])
    assert "\n" not in str(refused.value)
    with (
        FittedRows(3),
        pytest.raises(InferenceError, match="stated as rows 3 to 6 of the fit of Local, and some"),
    ):
        use(pair, x[:4])
    with FittedRows(4):
        last = use(pair, x[4:])
    alone = Local(USES["index"])
    alone.loc = nn.Parameter(pair.loc[4:].detach().clone())
    with FittedRows():
        assert values_of(use(alone, x[4:])) == values_of(last)
    use(Local(NONE["amortised"]), x[4:])


def test_the_innermost_statement_of_the_first_row_holds():
    with FittedRows(3):
        with FittedRows():
            assert stated_rows() == 3
        with FittedRows(0):
            assert stated_rows() == 0
        assert stated_rows() == 3
    assert stated_rows() is None
    with pytest.raises(InferenceError, match="row 0; got -1"):
        FittedRows(-1)


def test_a_place_among_the_fitted_rows_makes_no_guide_use_it():
    with FittedRows(2):
        assert not inspect_pair(Local(NONE["amortised"]), (torch.zeros(2, 1),)).is_per_data_point
        assert inspect_pair(Local(USES["index"]), (torch.zeros(2, 1),)).is_per_data_point


def test_rows_beyond_those_of_the_fit_have_no_bounds():
    with pytest.raises(InferenceError, match="stated as rows 0 to 7"):
        evaluate(Local(USES["index"]), torch.zeros(N + 2, 1), held_out=False)
    with pytest.raises(InferenceError, match="calibration is of a guide for any data"):
        calibration_ranks(Local(USES["index"]), torch.zeros(2, 1), simulations=2, draws=1)
