"""Fixtures of runs: without figures, and with an action after a step."""

import pytest


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
