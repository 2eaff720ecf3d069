"""Runs with several seeds that are fitted in one graph."""

import json
from contextlib import contextmanager
from itertools import count

import pytest

from gallery.catalogue.recipes import RECIPES
from gallery.ledger.reproduce import reproduce
from gallery.runs import training
from gallery.runs.several import fit_several
from gallery.runs.specification import Run
from inference import InferenceError

SETTINGS = {"epochs": 6, "engine": "graph"}


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch):
    monkeypatch.setattr("gallery.figures.draw", lambda *_, **__: [])


def runs_of(name, seeds=(0, 1), **settings):
    return [Run.of(name, RECIPES[name], None, {}, SETTINGS | settings | {"seed": seed}) for seed in seeds]


def test_each_run_is_the_one_it_is_alone(tmp_path):
    runs = runs_of("exponential_gaussian")
    assert fit_several(runs, [tmp_path / f"joined-{run.settings.seed}" for run in runs])
    for run in runs:
        folder = tmp_path / f"joined-{run.settings.seed}"
        expected = training.start(run, tmp_path / f"alone-{run.settings.seed}")
        metrics = json.loads((folder / "metrics.json").read_text())
        for split in ("test", "train"):
            assert metrics[split]["elbo"]["value"] == pytest.approx(expected[split]["elbo"]["value"], abs=1e-4)
        assert json.loads((folder / "run.json").read_text())["settings"]["seed"] == run.settings.seed
        history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in history] == list(range(1, 7))


@contextmanager
def interrupting():
    """Yield what `deferred_interrupt` yields, of a signal that arrives during the third call."""
    calls = count()
    yield lambda: next(calls) >= 2


def test_an_interrupt_leaves_runs_that_are_resumed_alone(tmp_path, monkeypatch):
    runs, folders = runs_of("exponential_gaussian"), [tmp_path / "0", tmp_path / "1"]
    with monkeypatch.context() as patch:
        patch.setattr("gallery.runs.several.deferred_interrupt", interrupting)
        with pytest.raises(KeyboardInterrupt):
            fit_several(runs, folders)
    for run, folder in zip(runs, folders, strict=True):
        assert len((folder / "history.jsonl").read_text().splitlines()) == 3
        resumed, alone = training.resume(folder), training.start(run, tmp_path / f"alone-{folder.name}")
        assert resumed["test"]["elbo"]["value"] == pytest.approx(alone["test"]["elbo"]["value"], abs=1e-4)


def test_a_run_that_diverges_before_a_checkpoint_leaves_nothing(tmp_path):
    runs, folders = runs_of("exponential_gaussian", lr=1e30), [tmp_path / "0", tmp_path / "1"]
    assert not fit_several(runs, folders)
    assert not any((folder / "run.json").exists() for folder in folders)
    with pytest.raises(InferenceError, match=r"has values that are NaN|not finite"):
        training.start(runs[0], folders[0])


@pytest.mark.parametrize("name", ["loaded_die", "vae"])  # gamma noise; a large model
def test_other_models_are_left_to_one_fit_after_the_other(tmp_path, name):
    data = "digits:dequantized" if name == "vae" else None
    runs = [Run.of(name, RECIPES[name], data, {}, SETTINGS | {"seed": seed}) for seed in (0, 1)]
    assert not fit_several(runs, [tmp_path / "0", tmp_path / "1"])
    assert not any(tmp_path.iterdir())


@pytest.mark.integration
def test_a_recipe_is_reproduced_in_one_graph(tmp_path):
    lines = []
    ledger = reproduce(["gaussian_mixture"], range(2), tmp_path, tmp_path / "l.json", quick=True, report=lines.append)
    assert "gaussian_mixture, seeds 0, 1: in one graph" in lines
    assert ledger["gaussian_mixture"]["runs"].keys() == {"0", "1"}
