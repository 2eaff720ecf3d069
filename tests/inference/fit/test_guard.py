"""Losses that are not finite: detection, what the error names, and the state after it."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import N
from fits import run_steps, tiny_fit
from known import Score
from torch.utils._python_dispatch import TorchDispatchMode

from inference import SVI, InferenceError, Settings
from inference.fit.updates import FUSED_SKIP_OPTIMISERS


class Reads(TorchDispatchMode):
    """Counts the tensors that are read on the host."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "name", ["factor_analysis", "vae", "ss_vae", "gmvae", pytest.param("vrnn", marks=pytest.mark.integration)]
)
def test_nothing_is_read_from_the_device_between_checks(name):
    svi = tiny_fit(name, "graph", epochs=100)
    svi.train_step()
    with Reads() as reads:
        run_steps(svi, 20)
        assert reads.count == 0
        svi.runner.check()
        assert reads.count > 0


class Overflowing(Score):
    """Its loss is not finite from the sixth step on, which no check of arguments foresees."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def guide(self, x, total=None):
        pyro.module("q", self.q)
        self.calls += self.training
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Normal(self.q["loc"] + x[:, 0], 1.0))
            weight = torch.where(self.calls > 5, torch.inf, 0.0)
            pyro.factor("weight", weight.expand(len(x)), has_rsample=True)


@pytest.mark.filterwarnings("ignore:Encountered")
@pytest.mark.parametrize("optimiser", [*FUSED_SKIP_OPTIMISERS, "RMSprop", "NAdam"])
def test_a_loss_that_is_not_finite_is_named_and_does_no_harm(optimiser):
    pair = Overflowing()
    svi = SVI(pair, torch.randn(N, 1), settings=Settings(epochs=200, batch_size=4, optimiser=optimiser))
    assert svi.mode == "graph"
    svi.train_step()
    pair.calls.zero_()
    weights = []

    def go_on():
        for _ in svi:
            weights.append([p.detach().clone() for p in svi.parameters])

    with pytest.raises(InferenceError, match=r"not finite at step 6 .*log-density of site weight"):
        go_on()
    assert len(weights) > 10  # detected at the next check
    assert all(torch.equal(a, b) for a, b in zip(weights[4], svi.parameters, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights[3], svi.parameters, strict=True))


class Failing(Score):
    """The log-density of x is not finite for some draws of z, which one draw for each data point seldom meets."""

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)
            pyro.factor("weight", torch.where(z > 2.5, torch.inf, 0.0))

    def guide(self, x, total=None):
        pyro.module("q", self.q)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Normal(self.q["loc"] + 0 * x[:, 0], 1.0))


@pytest.mark.filterwarnings("ignore:Encountered")
def test_the_error_names_a_site_that_is_not_finite_in_any_draw():
    svi = SVI(Failing(), torch.zeros(N, 1), settings=Settings(epochs=200, batch_size=4, objective="iwae:300"))
    run_steps(svi, 1)
    with pytest.raises(InferenceError, match="log-density of site weight is the first"):
        svi.runner.check()


def test_going_back_is_to_the_schedules_and_away_from_a_loss_that_was_not_finite():
    svi = tiny_fit("vae", "graph", warmup=2.0, epochs=4)
    run_steps(svi, 3)
    kept, beta = svi.state(), svi.beta
    assert beta > 0
    again = tiny_fit("vae", "graph", warmup=2.0, epochs=4)
    again.set_state(*kept)
    run_steps(svi, 1)
    assert again.beta == svi.beta > beta
    with torch.no_grad():
        svi.parameters[0].fill_(torch.nan)
    with pytest.raises(InferenceError, match="not finite"):
        run_steps(svi, 200)
    svi.set_state(*kept)
    run_steps(svi, 2)
    svi.runner.check()
