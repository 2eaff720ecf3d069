"""Pages of runs: a damaged run is skipped with a line."""

import json
import shutil
from dataclasses import replace

import pytest

import data
from gallery.errors import RunError
from gallery.ledger import tables
from gallery.report.site import _latents, _write_run
from gallery.report.site.run_pages import runs_below
from gallery.runs import training
from gallery.runs.specification import Run


def test_a_damaged_run_is_skipped(tmp_path):
    whole = Run.of("exponential_gaussian", None, None, {}, {}).to_json(data.load_splits("exponential_gaussian"))
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


@pytest.mark.parametrize(("model", "classes"), [("gaussian_mixture", True), ("exponential_gaussian", False)])
def test_a_picture_of_codes_has_colours_of_classes_where_the_data_have_classes(tmp_path, monkeypatch, model, classes):
    monkeypatch.setattr("gallery.figures.draw", lambda *_, **__: [])
    training.start(Run.of(model, settings={"epochs": 1}), tmp_path / "runs" / "one")
    (tmp_path / "runs" / "one" / "figures").mkdir()
    shutil.copy(tables.LEDGER / "pictures" / "vae" / "latent.png", tmp_path / "runs" / "one" / "figures")
    (page,), _ = runs_below(tmp_path / "runs")
    _write_run(tmp_path, page, None, print, False)
    html = (tmp_path / page.page).read_text(encoding="utf-8")
    assert ("A colour is a class" in html) == ("colours that lie apart are classes" in html) == classes
    assert ("similar codes.</strong>" in html) == (not classes)
    own = replace(page.run, data="/mine.npz")
    assert replace(page, run=replace(own, labels=("a", "b"))).has_classes
    assert not replace(page, run=replace(own, labels=None)).has_classes
