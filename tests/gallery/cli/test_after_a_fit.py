"""What follows a fit at the terminal: samples, the summary of latents, pages; and the lessons of a comparison."""

import json
import re
from pathlib import Path

import numpy as np

from gallery.catalogue.lessons import LESSONS
from gallery.report.site.page import PAGES
from gallery.report.site.run_pages import runs_below
from gallery.runs.report import READING


def test_a_run_without_pictures_is_sampled_into_arrays_and_summarised(run, tmp_path, no_figures):
    assert run("fit", "linear_regression", "--epochs", 1, "--run", "run")[0] == 0
    code, out, err = run("sample", "run")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == str(Path("run") / "sample.npz")
    code, out, _ = run("summary", "run")
    assert code == 0
    assert re.search(r"w\[1\] .* 1\.5$", out, flags=re.MULTILINE)
    rows = json.loads(run("summary", "run", "--as-json")[1])["rows"]
    assert [row["latent"] for row in rows] == ["w[0]", "w[1]"]
    assert run("fit", "linear_regression", "--epochs", 1, "--run", "run", "--overwrite")[0] == 0


def test_a_stopped_run_is_named_as_unfinished(run, tmp_path, no_figures, monkeypatch):
    def stopped(self, *_):
        self.save()
        return True

    with monkeypatch.context() as patch:
        patch.setattr("gallery.runs.loop.Training.record", stopped)
        code, _, err = run("fit", "factor_analysis", "--epochs", 2, "--run", "run")
    assert (code, err) == (130, "gallery: stopped; `gallery resume run` continues from the checkpoint\n")
    for command in ("evaluate", "summary", "sample"):
        code, _, err = run(command, "run")
        assert code == 0
        assert err.startswith("gallery: run is unfinished, with the weights of its checkpoint. `gallery resume run`")
    assert "unfinished. `gallery resume" in runs_below(tmp_path)[1][0]
    assert run("resume", "run")[0] == 0
    assert run("evaluate", "run")[2] == ""


def test_the_pages_are_opened_in_a_browser(run, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("gallery.report.site.write_site", lambda *_, **__: tmp_path / "index.html")
    monkeypatch.setattr("webbrowser.open", lambda address: not opened.append(address))
    assert run("site", "--open")[0] == 0
    assert opened == [(tmp_path / "index.html").as_uri()]


def test_the_help_of_compare_names_the_lessons(run):
    _, out, _ = run("compare", "--help")
    assert all(name in out for name in LESSONS)


def test_a_run_whose_data_moved_is_named_and_evaluated_where_they_are(run, tmp_path, no_figures):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(60, 3)))
    code, fitted, _ = run("fit", "factor_analysis", "--data", f"{tmp_path}/x.npy:real", "--epochs", 1, "--run", "run")
    assert code == 0
    (tmp_path / "x.npy").rename(tmp_path / "y.npy")
    for command in ("evaluate", "sample"):
        code, _, err = run(command, "run")
        assert (code, err.count("\n")) == (2, 1)
        assert err.startswith(f"gallery: {Path('run') / 'run.json'}: {tmp_path}/x.npy does not exist")
    code, evaluated, _ = run("evaluate", "run", "--data", f"{tmp_path}/y.npy:real")
    assert code == 0
    for out in (fitted, evaluated):  # both name the pages that explain their terms
        assert out.count(f"{READING}\n") == 1
    assert set(re.findall("'(.*?)'", READING)) <= set(PAGES.values())
