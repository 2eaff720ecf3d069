import pytest

from gallery.comparison import follow, work


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Few points of a curve, few gradients."""
    monkeypatch.setattr(follow, "CURVE_POINTS", 3)
    monkeypatch.setattr(work, "MINIBATCHES", 2)
    monkeypatch.setattr(work, "REPEATS", 2)
