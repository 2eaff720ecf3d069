"""Damaged files of runs: the same result, or a refusal in one line that names the file; and nothing is overwritten."""

import json
import random
import shutil

import pytest
import torch
from damage import VALUES, contents, damage, leaves, outcome, put
from safetensors.torch import save_file
from tiny_runs import history, same, weights

from gallery.errors import RunError
from gallery.ledger.reproduce import entry
from gallery.report.site.run_pages import runs_below
from gallery.runs import Run, load, resume
from gallery.runs.folder import read_history
from gallery.runs.parse import parse_metrics
from inference import InferenceError
from inference.fit.checkpoint import load_tensors


def trial(runs, folder, rng):
    """Damage one file of a run, and read it, or resume it."""
    kind = rng.choice(["finished", "stopped"])
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(runs / f"{kind}-0", folder)
    what = damage(folder, runs / f"{kind}-1", rng)
    before = contents(folder)
    _, line = outcome(lambda: load(folder)[1] if kind == "finished" else resume(folder))
    if line is not None:
        assert contents(folder) == before, what
        assert folder.name in line, (what, line)
        return
    assert same(load(folder)[1].state_dict(), weights(runs / "finished-0")), what
    if kind == "stopped":
        assert history(folder) == history(runs / "finished-0"), what
    _, line = outcome(lambda: entry(folder))
    assert line is None or folder.name in line, (what, line)
    pages, skipped = runs_below(folder)
    assert len(pages) + len(skipped) == 1, what


def check_trials(runs, tmp_path, monkeypatch, seeds):
    monkeypatch.setattr("gallery.figures.draw", lambda *_, **__: [])
    metrics = {"elbo": {"value": -1.0, "unit": "nats per data point", "n": 1}}
    monkeypatch.setattr("gallery.runs.finish.evaluate_split", lambda *_, **__: metrics)
    for seed in seeds:
        trial(runs, tmp_path / f"run-{seed}", random.Random(seed))


def test_a_damaged_run_gives_the_same_result_or_one_line(runs, tmp_path, monkeypatch):
    check_trials(runs, tmp_path, monkeypatch, range(24))


@pytest.mark.slow
def test_a_damaged_run_gives_the_same_result_or_one_line_500_times(runs, tmp_path, monkeypatch):
    check_trials(runs, tmp_path, monkeypatch, range(24, 524))


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("settings", "objective"), 1.5, "settings.objective is 1.5; expected a string"),
        (("threads",), [], "threads is []; expected an integer"),
        (("threads",), 10**9, "threads is 1000000000; expected 1 to 1024"),
        (("settings", "seed"), float("nan"), "settings.seed is NaN; expected an integer"),
        (("settings", "device"), None, "settings.device is null; expected a string"),
        (("settings", "epochs"), True, "settings.epochs is true; expected an integer"),
        (("settings", "lr"), float("inf"), "settings.lr is Infinity; expected a finite number"),
        (("settings", "epochs"), 0, "epochs must be at least 1, not 0"),
        (("settings", "lr_schedule"), "step", "expected one of constant, linear, cosine"),
        (("settings", "momentum"), 0.9, "settings.momentum is unknown to this version"),
        (("keywords",), None, "keywords is null; expected an object"),
        (("model",), "\0", "model is"),
        (("data_hash",), 3, "data_hash is 3; expected a string"),
    ],
)
def test_a_wrong_value_of_run_json_is_named_by_file_and_field(runs, tmp_path, path, value, words):
    shutil.copytree(runs / "finished-0", tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    file.write_text(json.dumps(put(json.loads(file.read_text()), path, value)))
    before = contents(tmp_path / "run")
    for action in (load, resume):
        with pytest.raises(RunError) as refused:
            action(tmp_path / "run")
        assert str(file) in str(refused.value)
        assert words in str(refused.value)
    assert contents(tmp_path / "run") == before


def test_every_field_of_run_json_takes_hostile_values(runs, tmp_path):
    """Each value in each place: a run, or one line."""
    content = json.loads((runs / "finished-0" / "run.json").read_text())
    for path in leaves(content):
        for value in VALUES:
            (tmp_path / "run.json").write_text(json.dumps(put(content, path, value)))
            result, line = outcome(lambda: Run.from_json(tmp_path / "run.json"))
            assert (result is None) == (line is not None)
            assert line is None or str(tmp_path) in line, (path, value, line)


@pytest.mark.parametrize(("at", "value"), [("loss", "x"), ("epoch", 7), ("test", [1]), ("seconds", None)])
def test_a_wrong_value_of_history_is_named_by_line_and_field(runs, tmp_path, at, value):
    shutil.copytree(runs / "stopped-0", tmp_path / "run")
    file = tmp_path / "run" / "history.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[1][at] = value
    file.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(RunError, match=r"history\.jsonl.*line 2"):
        resume(tmp_path / "run")


@pytest.mark.parametrize(
    "change",
    [lambda lines: [], lambda lines: lines[1:], lambda lines: [line.replace("2", "3") for line in lines]],
    ids=["emptied", "first line", "digits"],
)
def test_a_history_that_is_not_that_of_the_checkpoint_is_refused(runs, tmp_path, change):
    shutil.copytree(runs / "stopped-0", tmp_path / "run")
    file = tmp_path / "run" / "history.jsonl"
    file.write_text("\n".join(change(file.read_text().splitlines())))
    with pytest.raises(RunError, match=r"history\.jsonl"):
        resume(tmp_path / "run")


@pytest.mark.parametrize("name", ["weights.safetensors", "checkpoint.safetensors"])
def test_a_file_of_another_run_is_named_with_the_field_that_differs(runs, tmp_path, name):
    kind, action = ("finished", load) if name.startswith("weights") else ("stopped", resume)
    shutil.copytree(runs / f"{kind}-0", tmp_path / "run")
    shutil.copy(runs / f"{kind}-1" / name, tmp_path / "run")
    with pytest.raises(RunError, match=rf"{name} is of another run.*settings\.seed is 1 there, and 0 here"):
        action(tmp_path / "run")


def test_a_changed_bit_of_an_exponent_is_named(runs, tmp_path):
    shutil.copytree(runs / "finished-0", tmp_path / "run")
    path = tmp_path / "run" / "weights.safetensors"
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 0x40
    path.write_bytes(whole)
    with pytest.raises(InferenceError, match=r"weights\.safetensors is damaged \(its content has changed"):
        load(tmp_path / "run")


def without_hash(path, change=lambda tensors, about: None, **more):
    """Write a file as version 0.1 wrote it: without hash, run and history."""
    tensors, about = load_tensors(path)
    about = {key: value for key, value in about.items() if key in ("step", "count", "seconds")} | more
    change(tensors, about)
    save_file(tensors, path, {"about": json.dumps(about)})


def test_files_of_an_earlier_version_load(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("gallery.figures.draw", lambda *_, **__: [])
    for kind in ("finished", "stopped"):
        shutil.copytree(runs / f"{kind}-0", tmp_path / kind)
        for path in (tmp_path / kind).glob("*.safetensors"):
            without_hash(path)
    load(tmp_path / "finished")
    resume(tmp_path / "stopped")
    assert same(weights(tmp_path / "stopped"), weights(runs / "finished-0"))


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, about: about.update(step=10**9),
        lambda tensors, about: about.update(step=float("nan")),
        lambda tensors, about: about.update(seconds="x"),
        lambda tensors, about: [tensors.pop(name) for name in list(tensors) if name.startswith("optimiser.")],
        lambda tensors, about: tensors.pop("epoch.loss"),
        lambda tensors, about: tensors.update({"optimiser.0.exp_avg": torch.zeros(3, 3)}),
        lambda tensors, about: tensors.update({"optimiser.99.exp_avg": torch.zeros(3, 3)}),
        lambda tensors, about: [tensors[n].fill_(float("nan")) for n in tensors if n.startswith("weights.")],
        lambda tensors, about: [tensors.pop(name) for name in list(tensors) if "rng" in name],
    ],
    ids=["step 1e9", "step NaN", "seconds", "no optimiser", "no loss", "shape", "number", "NaN", "no generator"],
)
def test_a_checkpoint_of_an_earlier_version_that_does_not_fit_is_refused(runs, tmp_path, change):
    shutil.copytree(runs / "stopped-0", tmp_path / "run")
    without_hash(tmp_path / "run" / "checkpoint.safetensors", change)
    before = contents(tmp_path / "run")
    with pytest.raises((RunError, InferenceError)) as refused:
        resume(tmp_path / "run")
    assert "checkpoint" in str(refused.value)
    assert contents(tmp_path / "run") == before


def test_weights_of_an_earlier_version_that_are_not_finite_are_refused(runs, tmp_path):
    shutil.copytree(runs / "finished-0", tmp_path / "run")
    without_hash(
        tmp_path / "run" / "weights.safetensors", lambda tensors, about: next(iter(tensors.values())).fill_(torch.nan)
    )
    with pytest.raises(RunError, match=r"weights\.safetensors is damaged \(.* is not finite"):
        load(tmp_path / "run")


def test_metrics_of_a_finished_run_are_checked_by_field(runs, tmp_path):
    content = json.loads((runs / "finished-0" / "metrics.json").read_text())
    path = tmp_path / "metrics.json"
    for at, value in {("test", "elbo", "value"): "x", ("train",): 1, ("seconds",): None}.items():
        path.write_text(json.dumps(put(content, at, value)))
        with pytest.raises(RunError, match=rf"metrics\.json: {'.'.join(at)} is "):
            parse_metrics(path)
    assert len(read_history(runs / "finished-0")) == 3


# a fit that was killed, and folders
