"""Pages of runs: a damaged run is skipped with a line."""

import json

import pytest

import data
from gallery.errors import RunError
from gallery.report.site import _latents
from gallery.report.site.run_pages import runs_below
from gallery.runs import training
from gallery.runs.specification import Run


def test_a_damaged_run_is_skipped(tmp_path):
    whole = Run.of("exponential_gaussian", None, None, {}, {}).to_json(data.load("exponential_gaussian"))
    damaged = [("{}", "{}"), ('{"model": "v', "{}"), ("[]", "{}"), (whole, '{"test": 1}'), (whole, "{")]
    for test in ({"elbo": {"value": 1.0, "se": "a"}}, {"undefined": [1]}, {"kl_per_latent": {"z": ["a"]}}):
        damaged.append((whole, json.dumps({"test": test})))
    for i, (about, metrics) in enumerate(damaged):
        (tmp_path / "runs" / str(i)).mkdir(parents=True)
        (tmp_path / "runs" / str(i) / "run.json").write_text(about)
        (tmp_path / "runs" / str(i) / "metrics.json").write_text(metrics)
    pages, skipped = runs_below(tmp_path / "runs")
    assert pages == []
    assert len(skipped) == len(damaged)
    with pytest.raises(RunError, match="is no folder"):
        runs_below(tmp_path / "none")


def test_the_page_of_a_run_has_its_latents_with_the_truth(tmp_path, monkeypatch):
    monkeypatch.setattr("gallery.figures.draw", lambda *_, **__: [])
    run = Run.of("linear_regression", settings={"epochs": 1})
    training.start(run, tmp_path / "runs" / "line")
    (page,), _ = runs_below(tmp_path / "runs")
    said = []
    table = _latents(page, False, said.append)
    assert table.splitlines()[1].split() == ["latent", "mean", "sd", "5", "%", "95", "%", "truth"]
    assert not said
    (page.folder / "weights.safetensors").write_bytes(b"")
    assert _latents(page, False, said.append) is None
    assert "line has no summary: " in said[0]
