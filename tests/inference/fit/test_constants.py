"""Numbers of Python and numpy that change from step to step: found before the step is traced, and then not frozen."""

import random
import warnings

import numpy as np
import pytest
import torch
from cases import arguments
from fits import run_steps
from torch import nn

from gallery.models import MODELS
from inference import SVI, Settings
from inference.fit.constants import changing_place
from inference.fit.step import prepare_step


class Plain(MODELS["vae"]):
    """A VAE whose guide adds `more()` to x."""

    def __init__(self):
        super().__init__(6, 2, (5,))
        self.calls, self.schedule = 0, 0.1
        self.offset = torch.zeros(())  # no buffer
        self.register_buffer("seen", torch.zeros(()))
        self.norm = nn.BatchNorm1d(6, affine=False)

    def guide(self, x, total=None):
        return super().guide(x + self.more(), total)

    def more(self):
        return 0.0


class Counter(Plain):
    def more(self):
        self.calls += 1
        return 1 / self.calls


class Schedule(Plain):
    def more(self):
        self.schedule *= 0.9
        return self.schedule


class Numpy(Plain):
    def more(self):
        return torch.from_numpy(np.random.standard_normal(6)).float()


class Random(Plain):
    def more(self):
        return torch.tensor(random.random())


class EverySecond(Plain):
    """The operations differ, and no number."""

    def more(self):
        self.calls += 1
        return torch.zeros(()) if self.calls % 2 else torch.ones(()).sqrt()


class Attribute(Plain):
    def more(self):
        self.offset = self.offset + 0.1
        return self.offset


class Replaced(Plain):
    def more(self):
        self.seen = self.seen + 1
        return self.seen


class InPlace(Plain):
    def more(self):
        return self.seen.add_(1).clone()


class Cached(Plain):
    kept = None

    def more(self):
        if self.kept is None:
            self.kept = torch.ones(6) / 2
        return self.kept


class Noisy(Plain):
    def guide(self, x, total=None):
        return super().guide(self.norm(torch.dropout(x, 0.5, True)), total)


def fit(cls, mode):
    torch.manual_seed(0)
    svi = SVI(cls(), *arguments("vae"), settings=Settings(epochs=200, batch_size=4))
    svi.runner.mode = mode
    return svi


@pytest.mark.parametrize("cls", [Counter, Schedule, Numpy, Random, EverySecond, Attribute])
def test_a_number_that_changes_is_named_and_every_step_is_run_by_pyro(cls):
    svi = fit(cls, "graph")
    with pytest.warns(UserWarning, match=r"depends on a number .* at .*test_constants.py:\d+: .*; hold it"):
        svi.train_step()
    assert svi.runner.prepare()[0] == svi.loss.gradients


def test_a_buffer_that_is_replaced_is_named():
    with pytest.warns(UserWarning, match="replaces the buffer seen; update it in place"):
        fit(Replaced, "graph").train_step()


@pytest.mark.parametrize("cls", [Plain, InPlace, Cached, Noisy])
def test_what_a_graph_can_hold_is_traced(cls):
    svi = fit(cls, "graph")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svi.train_step()
    assert svi.runner.prepare()[0] != svi.loss.gradients
    again = fit(cls, "pyro")
    again.train_step()
    torch.testing.assert_close(run_steps(svi), run_steps(again), rtol=1e-4, atol=1e-4)


def test_buffers_and_random_generators_are_left_as_they_were():
    svi = fit(InPlace, "graph")
    args, state = svi.loss.step_arguments(svi.rows(0)), torch.get_rng_state()
    prepare_step(svi.pair, svi.loss.gradients, "graph", args)
    assert svi.pair.seen == 0
    assert torch.equal(torch.get_rng_state(), state)


def test_a_sparse_tensor_is_a_constant():
    held = torch.eye(2).to_sparse()
    assert changing_place(lambda x: torch.sparse.mm(held, x), (torch.ones(2, 2),), []) is None
    fresh = iter((torch.eye(2), 2 * torch.eye(2), 3 * torch.eye(2)))
    place = changing_place(lambda x: torch.sparse.mm(next(fresh).to_sparse(), x), (torch.ones(2, 2),), [])
    assert place is not None
