"""How steps are run, and what a fit leaves as it is."""

import pytest
import torch
from cases import N, arguments, build
from fits import run_steps, tiny_fit
from torch import nn

from gallery.models.vae import VAE
from inference import SVI, InferenceError, Settings, with_guide
from inference.examples import LinearGaussian
from inference.fit.step import COMPILE_STEPS, TRACE_STEPS


def test_the_help_names_the_steps_from_which_a_step_is_traced_and_compiled():
    words = " ".join(Settings.__doc__.split())
    assert f"compiled from {COMPILE_STEPS} steps on" in words
    assert f"from {TRACE_STEPS} steps on" in words


def test_how_steps_are_run_goes_by_their_number():
    x = arguments("vae")[0]

    def mode(**settings):
        return SVI(build("vae"), x, settings=Settings(batch_size=N, **settings)).mode

    assert [mode(epochs=e) for e in (199, 200, 4999, 5000)] == ["pyro", "graph", "graph", "compiled"]
    assert mode(epochs=1, engine="compiled") == "compiled"
    assert mode(epochs=5000, engine="pyro") == "pyro"


def test_a_single_data_point_can_be_fitted_by_a_guide_with_separate_parameters():
    x = (torch.rand(1, 6) > 0.5).float()
    pair = with_guide(build("vae"), "normal", x)
    SVI(pair, x, settings=Settings(epochs=2)).train_step()


class Detached(LinearGaussian):
    def guide(self, x, total=None):
        with torch.no_grad():
            super().guide(x, total)


@pytest.mark.parametrize("engine", ["pyro", "graph"])
def test_a_loss_without_a_gradient_is_refused(engine):
    svi = SVI(Detached(), torch.randn(N, 1))
    svi.runner.mode = engine
    with pytest.raises(InferenceError, match="the loss depends on no parameter that model or guide registers"):
        svi.train_step()


class Normalised(VAE):
    """A VAE with a running mean of batches, which neither inspection of the pair nor a trace of its step may change."""

    def __init__(self):
        super().__init__(6, 2, (5,), dropout=0.0, likelihood="bernoulli")
        self.encoder = nn.Sequential(nn.BatchNorm1d(6), self.encoder)


def test_buffers_are_moved_by_training_steps_only():
    x, counts = (torch.rand(N, 6) > 0.5).float(), {}
    for mode in ("pyro", "graph"):
        torch.manual_seed(0)
        svi = SVI(Normalised(), x, settings=Settings(epochs=200, batch_size=4))
        svi.runner.mode = mode
        assert svi.pair.encoder[0].num_batches_tracked == 0
        run_steps(svi, 3)
        counts[mode] = svi.pair.encoder[0].num_batches_tracked.item(), svi.pair.encoder[0].running_mean.clone()
    assert counts["pyro"][0] == counts["graph"][0] == 3
    torch.testing.assert_close(counts["pyro"][1], counts["graph"][1])


def test_an_epoch_ends_where_a_call_does():
    svi = tiny_fit("factor_analysis", "pyro", epochs=2, batch_size=5)  # 12 rows: epochs end in the steps 3 and 5
    ends = []
    while svi.step < svi.steps:
        left = svi.steps_left_of_epoch
        for _ in range(left):
            svi.train_step()
        ends.append((svi.step, svi.epoch))
    assert ends == [(3, 1), (5, 2)]
