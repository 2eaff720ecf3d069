"""Code that a run.json names is executed only if this user has fitted the file as it is."""

import json
import shutil

import pytest
from tiny_runs import tiny

from gallery.cli.main import main
from gallery.errors import RunError
from gallery.report.site.run_pages import runs_below
from gallery.runs import load, resume, start

OWN = """from gallery.models.exponential_gaussian import ExponentialGaussian


class Mine(ExponentialGaussian):
    pass
"""
EXECUTED = "open({!r}, 'w').close()\n"


@pytest.fixture
def fitted(tmp_path, no_figures, monkeypatch):
    """A run of a model in a file, which this user has fitted."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "mine.py").write_text(OWN)
    start(tiny("exponential_gaussian", f"{tmp_path / 'mine.py'}:Mine", {}, epochs=1), tmp_path / "run")
    return tmp_path / "run"


def test_the_file_that_was_fitted_is_executed(fitted):
    load(fitted)
    (fitted / "metrics.json").unlink()
    resume(fitted)


def hostile(fitted):
    """A copy of the run, as it may be downloaded: run.json names a file in its folder. Return (folder, the mark)."""
    folder, mark = fitted.parent / "downloaded", fitted.parent / "executed"
    shutil.copytree(fitted, folder)
    (folder / "model.py").write_text(EXECUTED.format(str(mark)) + OWN)
    content = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(content | {"model": f"{folder / 'model.py'}:Mine"}))
    return folder, mark


@pytest.mark.parametrize(
    "command",
    ["evaluate RUN", "sample RUN", "export RUN --to onnx", "resume RUN", "fit --from RUN/run.json --run new"],
)
def test_code_of_a_downloaded_run_is_not_executed(fitted, capsys, command):
    folder, mark = hostile(fitted)
    assert main(command.replace("RUN", str(folder)).split()) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert str(folder / "model.py") in line
    assert line.endswith("Use --trust.\n")
    assert not mark.exists()


def test_a_site_skips_a_run_with_such_code_and_names_it(fitted):
    folder, mark = hostile(fitted)
    pages, skipped = runs_below(fitted.parent)
    assert [page.folder for page in pages] == [fitted]
    assert len(skipped) == 1
    assert str(folder / "model.py") in skipped[0]
    assert not mark.exists()


def test_trust_executes_it_and_lasts(fitted):
    folder, mark = hostile(fitted)
    load(folder, trust=True)
    assert mark.exists()
    load(folder)


def test_a_file_that_has_changed_since_the_fit_is_refused(fitted):
    (fitted.parent / "mine.py").write_text(OWN + "\n# another line\n")
    with pytest.raises(RunError, match="not fitted as it is now"):
        load(fitted)
    load(fitted, trust=True)


def test_a_state_folder_that_cannot_be_written_does_not_cost_the_fit(tmp_path, no_figures, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    (tmp_path / "mine.py").write_text(OWN)
    start(tiny("exponential_gaussian", f"{tmp_path / 'mine.py'}:Mine", {}, epochs=1), tmp_path / "run")
    with pytest.raises(RunError, match="not fitted"):
        load(tmp_path / "run")


def test_models_of_the_registry_need_no_note(tmp_path, no_figures, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    start(tiny("exponential_gaussian", "exponential_gaussian", {}, epochs=1), tmp_path / "run")
    assert not (tmp_path / "state").exists()
    load(tmp_path / "run")
