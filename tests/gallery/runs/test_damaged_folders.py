"""Folders of runs that a kill, another fit, a full disk or a divergence left: begun again, resumed or named."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from damage import SETTINGS, contents
from tiny_runs import same, tiny, weights

import gallery
import gallery.runs.folder as folder_module
from gallery.errors import RunError
from gallery.report.site.run_pages import runs_below
from gallery.runs import Run, load, resume, start
from gallery.runs.progress import PlainProgress
from inference import InferenceError
from inference.fit.guard import DivergenceError


def test_a_fit_that_ended_in_between_is_not_destroyed(runs, tmp_path, monkeypatch):
    """The folder is free when it is checked first, and holds a run once the data are loaded."""
    folder, datasets = tmp_path / "run", Run.datasets

    def meanwhile(self):
        if not folder.exists():
            shutil.copytree(runs / "finished-1", folder)
        return datasets(self)

    monkeypatch.setattr(Run, "datasets", meanwhile)
    with pytest.raises(RunError, match="holds a run already"):
        start(tiny("exponential_gaussian", "exponential_gaussian", {}, **SETTINGS), folder)
    assert contents(folder) == contents(runs / "finished-1")


@pytest.mark.parametrize("left", [[".lock"], [".lock", ".run.json.abcd1234"], [".lock", "tensorboard/events"]])
def test_a_folder_that_a_killed_fit_began_can_be_begun_again(tmp_path, no_figures, left):
    for name in left:
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text("")
    with pytest.raises(RunError, match="fit again"):
        resume(tmp_path / "run")
    start(tiny("exponential_gaussian", "exponential_gaussian", {}, **SETTINGS), tmp_path / "run")
    assert not list((tmp_path / "run").glob(".run.json*"))


def fails_in(monkeypatch, name, error):
    """Let a function of the fit raise an error."""

    def fails(*_, **__):
        raise error

    monkeypatch.setattr(name, fails)


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
FIRST_STEPS = {
    "a step of the model": ("inference.fit.svi.StepRunner.run", LookupError("'key'")),
    "a loss that is not finite": ("inference.fit.svi.StepRunner.run", DivergenceError("the loss is not finite.")),
    "a disk that is full": ("gallery.runs.loop.save_tensors", InferenceError("No space left")),
    "a disk that fills within run.json": ("os.replace", FULL),
    "a listener": ("gallery.runs.progress.PlainProgress.begin", RuntimeError("broken pipe")),
    "a signal handler": ("gallery.runs.loop.deferred_interrupt", RuntimeError("no thread")),
}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", FIRST_STEPS)
def test_a_fit_that_fails_before_its_first_step_leaves_no_run(tmp_path, no_figures, monkeypatch, kind, overwrite):
    folder, run = tmp_path / "run", tiny("exponential_gaussian", "exponential_gaussian", {}, **SETTINGS)
    with monkeypatch.context() as patch:
        if overwrite:
            start(run, folder)
        name, error = FIRST_STEPS[kind]
        fails_in(patch, name, error)
        with pytest.raises((type(error), InferenceError)):
            start(run, folder, overwrite, PlainProgress())
    assert contents(folder) == {}
    assert runs_below(tmp_path) == ([], [])
    with pytest.raises(RunError, match="fit again"):
        resume(folder)
    start(run, folder)
    assert (folder / "metrics.json").exists()


def test_a_fit_that_fails_or_is_interrupted_later_can_be_resumed(runs, tmp_path, after):
    """After a checkpoint in the middle, and at Ctrl-C before one."""
    run = tiny("exponential_gaussian", "exponential_gaussian", {}, **SETTINGS)

    def fails(svi):
        raise LookupError("'key'")

    def stop(svi):
        raise KeyboardInterrupt

    for name, listener, error in (("late", after(5, fails), LookupError), ("early", after(1, stop), KeyboardInterrupt)):
        with pytest.raises(error):
            start(run, tmp_path / name, listener=listener)
        resume(tmp_path / name)
        assert same(weights(tmp_path / name), weights(runs / "finished-0"))


@pytest.mark.parametrize("kind", ["evaluation", "weights", "copy"])
def test_a_fit_in_memory_that_cannot_be_kept_leaves_no_run(runs, tmp_path, no_figures, monkeypatch, kind):
    fit = (
        gallery.fit("exponential_gaussian", progress=False, **SETTINGS)
        if kind != "copy"
        else gallery.load(runs / "finished-0")
    )
    names = {"evaluation": "gallery.runs.finish.evaluate_split", "weights": "gallery.runs.finish.save_tensors"}
    with monkeypatch.context() as patch:
        if kind == "copy":
            write, left = folder_module.write_atomically, iter(range(3))

            def fills(path, content):
                if next(left, None) is None:
                    raise InferenceError(f"cannot write {path}: No space left on device.")
                write(path, content)

            patch.setattr(folder_module, "write_atomically", fills)
        else:
            fails_in(patch, names[kind], InferenceError("cannot write it."))
        with pytest.raises(InferenceError, match="cannot write"):
            fit.save(tmp_path / "kept")
    assert contents(tmp_path / "kept") == {}
    fit.save(tmp_path / "kept")
    assert gallery.load(tmp_path / "kept").evaluate()["elbo"] == fit.evaluate()["elbo"]


def test_a_run_is_copied_in_place_of_another_and_not_onto_itself(runs, tmp_path):
    shutil.copytree(runs / "finished-0", tmp_path / "run")
    shutil.copytree(runs / "finished-1", tmp_path / "other")
    (tmp_path / "other" / "sample.npz").write_text("of the other run")
    fit = gallery.load(tmp_path / "run")
    before = contents(tmp_path / "run")
    for folder in ("other", "run"):
        fit.save(tmp_path / folder, overwrite=True)
        assert contents(tmp_path / folder) == before


def test_files_of_a_run_without_its_run_json_are_replaced_only_if_requested(runs, tmp_path, no_figures):
    shutil.copytree(runs / "finished-0", tmp_path / "run")
    (tmp_path / "run" / "run.json").unlink()
    run = tiny("exponential_gaussian", "exponential_gaussian", {}, **SETTINGS)
    with pytest.raises(RunError, match=r"without its run\.json") as refused:
        start(run, tmp_path / "run")
    assert refused.value.remedy == ("overwrite", "True")
    start(run, tmp_path / "run", overwrite=True)
    assert same(weights(tmp_path / "run"), weights(runs / "finished-0"))


def test_a_kill_at_any_file_of_an_overwrite_leaves_a_run_that_resumes(runs, tmp_path, no_figures, monkeypatch):
    """Each deletion in turn is the last one; the old run is resumed to its bits, or the new one begun again."""
    unlink = Path.unlink
    for last in range(5):
        folder, done = tmp_path / f"run-{last}", []
        shutil.copytree(runs / "finished-0", folder)

        def stop(self, missing_ok=False, done=done, last=last):
            if self.suffix in (".json", ".jsonl", ".safetensors", ".nc"):
                if len(done) == last:
                    raise KeyboardInterrupt
                done.append(self)
            unlink(self, missing_ok=missing_ok)

        other = tiny("exponential_gaussian", "exponential_gaussian", {}, **SETTINGS, seed=1)
        monkeypatch.setattr(Path, "unlink", stop)
        with pytest.raises(KeyboardInterrupt):
            start(other, folder, overwrite=True)
        monkeypatch.setattr(Path, "unlink", unlink)
        if (folder / "metrics.json").exists():
            assert same(load(folder)[1].state_dict(), weights(runs / "finished-0"))
        else:
            resume(folder)
            assert same(weights(folder), weights(runs / "finished-0"))


def test_what_a_killed_write_left_is_removed_by_the_next_writer_and_nothing_else(runs, tmp_path, no_figures):
    shutil.copytree(runs / "stopped-0", tmp_path / "run")
    (tmp_path / "run" / "figures").mkdir()
    for name in (".checkpoint.safetensors.a1b2c3d4", "figures/.latent.png.________", "notes.a1b2c3d4", ".mine"):
        (tmp_path / "run" / name).write_text("")
    resume(tmp_path / "run")
    left = {p.name for p in (tmp_path / "run").rglob("*")}
    assert {"notes.a1b2c3d4", ".mine"} <= left
    assert not {".checkpoint.safetensors.a1b2c3d4", ".latent.png.________"} & left


# what the system refuses


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EFBIG])
def test_a_write_that_the_system_refuses_names_file_and_cause(runs, tmp_path, monkeypatch, code):
    shutil.copytree(runs / "stopped-0", tmp_path / "run")

    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    for function in ("fsync", "replace"):
        before = contents(tmp_path / "run")
        kept = getattr(os, function)
        monkeypatch.setattr(os, function, refuse)
        with pytest.raises(InferenceError) as refused:
            resume(tmp_path / "run")
        monkeypatch.setattr(os, function, kept)
        assert "cannot write" in str(refused.value)
        assert os.strerror(code) in str(refused.value)
        assert contents(tmp_path / "run") == before


def test_a_folder_that_cannot_be_locked_or_made_is_one_line(tmp_path, monkeypatch):
    run = tiny("exponential_gaussian", "exponential_gaussian", {}, **SETTINGS)
    (tmp_path / "file").write_text("")
    with pytest.raises((RunError, InferenceError), match="file"):
        start(run, tmp_path / "file" / "run")

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.raises(InferenceError, match=r"cannot lock .*Permission denied"):
        start(run, tmp_path / "run")


# divergence


@pytest.mark.filterwarnings("ignore:Encountered")  # as in the command line
@pytest.mark.parametrize("settings", [{"lr": 1e6}, {"optimiser": "SGD", "lr": 10.0}, {"lr": 50.0, "engine": "pyro"}])
def test_a_fit_that_diverges_ends_in_one_line_with_its_last_checkpoint(tmp_path, no_figures, settings):
    with pytest.raises(InferenceError) as refused:
        start(tiny("digits:threshold", epochs=3, **settings), tmp_path / "run")
    assert "step" in str(refused.value)
    assert "checkpoint" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run" / "metrics.json").exists()
