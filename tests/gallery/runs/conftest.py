"""Fixtures of runs: without figures, with an action after a step, and finished and stopped runs to damage."""

import pytest
from damage import SETTINGS, Stop
from tiny_runs import tiny

from gallery.runs import start


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr("gallery.figures.draw", lambda *_, **__: [])


@pytest.fixture
def after(no_figures):
    """after(step, action) is a listener that calls the action with the fit once that step is done."""

    def arm(step, action):
        class Listener:
            def begin(self, svi, run):
                self.svi = svi

            def step(self, done, loss):
                if done == step:
                    action(self.svi)

            def epoch(self, line):
                pass

            def close(self):
                pass

        return Listener()

    return arm


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished run and one that was stopped after two epochs, and both with another seed."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gallery.figures.draw", lambda *_, **__: [])
        for seed in (0, 1):
            run = tiny("exponential_gaussian", "exponential_gaussian", {}, **SETTINGS, seed=seed)
            start(run, folder / f"finished-{seed}")
            with pytest.raises(KeyboardInterrupt):
                start(run, folder / f"stopped-{seed}", listener=Stop())
    return folder
