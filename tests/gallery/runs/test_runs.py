"""Runs in folders: reproducible, resumable to the bit after kill -9, never half-written."""

import errno
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import filelock
import numpy as np
import pytest
import torch

from gallery.cli.main import main
from gallery.errors import RunError
from gallery.runs import system as machine
from gallery.runs import training as runs
from gallery.runs.progress import Plain
from gallery.runs.specification import Run
from inference import InferenceError, Settings
from inference.fit.checkpoint import load_tensors, save_tensors

TINY = {"hidden": [16], "latent_dim": 3}
TINY_FLAGS = ["--hidden", "16", "--latent-dim", "2", "--lr-schedule", "cosine", "--warmup", "1"]


def tiny(data="digits:dynamic", model="vae", keywords=None, **settings):
    return Run.of(
        model, None, data, TINY if keywords is None else keywords, {"epochs": 2, "batch_size": 100, **settings}
    )


def history(folder):
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def weights(folder):
    return load_tensors(folder / "weights.safetensors")[0]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr("gallery.figures.draw", lambda *_, **__: [])


@pytest.fixture
def after(monkeypatch, no_figures):
    """after(step, what) makes training call `what` once that step is done."""

    def arm(step, what):
        class Watcher:
            def begin(self, svi, run):
                self.svi = svi

            def step(self, done, loss):
                if done == step:
                    what(self.svi)

            def epoch(self, line):
                pass

        return Watcher()

    return arm


def test_same_seed_same_history_and_another_seed_another(tmp_path, no_figures):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        runs.start(tiny(seed=seed), tmp_path / name)
    assert history(tmp_path / "a") == history(tmp_path / "b") != history(tmp_path / "c")
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert [line["epoch"] for line in history(tmp_path / "a")] == [1, 2]


def test_metrics_say_what_they_are(tmp_path, no_figures):
    metrics = runs.start(tiny("digits:threshold"), tmp_path / "run")
    assert metrics == json.loads((tmp_path / "run" / "metrics.json").read_text())
    elbo = metrics["test"]["elbo"]
    assert elbo.keys() == {"value", "se", "mc_se", "n", "particles", "unit"}
    assert (elbo["n"], elbo["unit"]) == (297, "nats per data point")
    assert metrics["is_bound"]
    assert metrics["data"] == "digits:threshold"
    assert metrics["test"]["iwae"]["k"] == 16
    assert metrics["test"]["iwae"]["value"] > elbo["value"]
    assert "evidence" not in metrics["test"]


def test_a_delta_guide_has_no_bound_and_says_so(tmp_path, no_figures):
    metrics = runs.start(tiny("line", "linear_regression:map", {}), tmp_path / "run")
    assert not metrics["is_bound"]
    assert {"elbo", "iwae"}.isdisjoint(metrics["test"])
    assert "Delta" in metrics["test"]["undefined"]["elbo"]


def test_per_datum_guides_know_nothing_of_the_test_data(tmp_path, no_figures):
    metrics = runs.start(tiny("exponential_gaussian", "exponential_gaussian:per_datum", {}), tmp_path / "run")
    assert "elbo" in metrics["train"]
    assert "elbo" not in metrics["test"]
    assert "none for these" in metrics["test"]["undefined"]["elbo"]


def test_beta_is_used_and_labelled(tmp_path, no_figures):
    runs.start(tiny(beta=4.0), tmp_path / "run")
    assert all(line["beta"] == 4.0 and not line["loss_is_bound"] for line in history(tmp_path / "run"))


def test_a_collapse_is_told_once_with_what_may_help(tmp_path, no_figures, capsys):
    for warmup in (0.0, 1.0):
        strict = tiny("digits:threshold", beta=1e3, lr=1e-2, epochs=5, warmup=warmup)
        runs.start(strict, tmp_path / f"{warmup}", watcher=Plain())
        said = [line for line in capsys.readouterr().out.splitlines() if "collapse" in line]
        assert len(said) == 1
        assert "z says nothing of x" in said[0]
        assert "--objective free-bits:0.1 or a weaker decoder" in said[0]
        assert ("--warmup" in said[0]) == (warmup == 0)
        assert history(tmp_path / f"{warmup}")[-1]["collapsed"] == ["z"]
    runs.start(tiny("factor_analysis", "factor_analysis", {}), tmp_path / "run", watcher=Plain())
    assert "collapse" not in capsys.readouterr().out


def test_a_killed_process_resumes_to_the_bit(tmp_path, no_figures, capsys):
    """A real process, stopped by SIGKILL, is resumed, which SIGINT stops, both in the middle of an epoch; resumed once
    more, against a run that went through."""
    flags = ["--data", "digits:dynamic", *TINY_FLAGS, "--epochs", "20", "--batch-size", "25", "--seed", "3"]
    folder, through = tmp_path / "stopped", tmp_path / "through"
    command = [sys.executable, "-m", "gallery", "fit", "vae", *flags, "--run", str(folder)]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)

    def stop(number, send, epochs):
        deadline = time.monotonic() + 120
        while not (folder / "history.jsonl").exists() or len(history(folder)) < epochs:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.03)  # into the next epoch or a later one
        send(number)

    stop(signal.SIGKILL, process.send_signal, 1)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "weights.safetensors").exists()
    by_itself = partial(os.kill, os.getpid())
    thread = threading.Thread(target=stop, args=(signal.SIGINT, by_itself, len(history(folder)) + 1))
    thread.start()
    assert main(["resume", str(folder)]) == 130
    thread.join()
    assert "resume" in capsys.readouterr().err
    assert not (folder / "weights.safetensors").exists()
    assert load_tensors(folder / "checkpoint.safetensors")[1]["step"] > 0
    runs.resume(folder)
    runs.start(Run.from_json(folder / "run.json")[0], through)
    assert same(weights(folder), weights(through))
    assert history(folder) == history(through)


def test_resume_from_the_middle_of_an_epoch_in_every_mode(tmp_path, after):
    """Stopped at step 17 of 30, where a checkpoint is written; also with float64, particles and a schedule."""
    settings = {"precision": "float64", "particles": 2, "lr_schedule": "linear", "objective": "analytic"}
    for name, run in {"plain": tiny(), "rich": tiny(**settings), "given": tiny("digits:static", "cvae")}.items():
        runs.start(run, tmp_path / name / "through")
        stop = after(17, lambda svi: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            runs.start(run, tmp_path / name / "stopped", watcher=stop)
        assert load_tensors(tmp_path / name / "stopped" / "checkpoint.safetensors")[1]["step"] == 17
        runs.resume(tmp_path / name / "stopped")
        assert same(weights(tmp_path / name / "stopped"), weights(tmp_path / name / "through"))
        assert history(tmp_path / name / "stopped") == history(tmp_path / name / "through")


def test_run_json_is_a_specification(tmp_path, no_figures):
    runs.start(tiny(), tmp_path / "first")
    again, _ = Run.from_json(tmp_path / "first" / "run.json")
    runs.start(again, tmp_path / "second")
    assert same(weights(tmp_path / "first"), weights(tmp_path / "second"))


def test_a_run_is_never_overwritten_unasked(tmp_path, no_figures):
    runs.start(tiny(), tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    with pytest.raises(RunError, match="holds a run already"):
        runs.start(tiny(seed=5), tmp_path / "run")
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    runs.start(tiny(seed=5), tmp_path / "run", overwrite=True)
    assert before[tmp_path / "run" / "weights.safetensors"] != (tmp_path / "run" / "weights.safetensors").read_bytes()


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="other files"):
        runs.start(tiny(), tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_two_writers_are_refused(tmp_path, no_figures):
    runs.start(tiny(), tmp_path / "run")
    with filelock.FileLock(tmp_path / "run" / ".lock"), pytest.raises(RunError, match="another process"):
        runs.start(tiny(), tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "metrics.json").exists()


def test_a_damaged_checkpoint_is_named_and_nothing_is_overwritten(tmp_path, after):
    def stop(svi):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        runs.start(tiny(), tmp_path / "run", watcher=after(5, stop))
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    whole = checkpoint.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"\xff" * 100):
        checkpoint.write_bytes(damaged)
        with pytest.raises(InferenceError, match=r"checkpoint\.safetensors is damaged"):
            runs.resume(tmp_path / "run")
        assert checkpoint.read_bytes() == damaged
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        runs.resume(tmp_path / "run")


def test_a_full_disk_keeps_the_previous_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    save_tensors(path, {"a": torch.ones(3)}, {"step": 1})

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InferenceError, match=r"No space left on device\. The previous file is kept"):
        save_tensors(path, {"a": torch.zeros(3)}, {"step": 2})
    assert load_tensors(path)[1] == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_nan_stops_with_step_and_site_and_keeps_the_last_good_checkpoint(tmp_path, after):
    def break_it(svi):
        with torch.no_grad():
            svi.pair.decoder[1].linear.bias[0] = float("nan")

    with pytest.raises(InferenceError, match=r"step 17 \(epoch 2\): parameter decoder.1.linear.bias is the first"):
        runs.start(tiny("digits:threshold"), tmp_path / "run", watcher=after(17, break_it))
    tensors, about = load_tensors(tmp_path / "run" / "checkpoint.safetensors")
    assert about["step"] == 15
    assert all(value.isfinite().all() for name, value in tensors.items() if name.startswith("weights."))
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_an_infinite_log_density_is_named_by_its_site(tmp_path, after):
    def blow_up(svi):
        with torch.no_grad():
            svi.pair.encoder[1].linear.bias[0] = 1e30

    with pytest.raises(InferenceError, match="log-density of site z is the first"):
        runs.start(tiny("digits:threshold"), tmp_path / "run", watcher=after(3, blow_up))


def test_a_model_of_ones_own_and_its_disappearance(tmp_path, no_figures):
    file = tmp_path / "mine.py"
    file.write_text("from gallery.models.vae import VAE\n\n\nclass Mine(VAE):\n    pass\n")
    runs.start(tiny(model=f"{file}:Mine"), tmp_path / "run")
    runs.load(tmp_path / "run")
    file.write_text("")
    with pytest.raises(RunError, match="has no class Mine"):
        runs.load(tmp_path / "run")
    file.unlink()
    with pytest.raises(RunError, match="there is no file"):
        runs.load(tmp_path / "run")


def test_other_data_than_the_run_was_begun_with_are_refused(tmp_path, after, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        runs.start(tiny(), tmp_path / "run", watcher=after(5, lambda svi: os.kill(os.getpid(), signal.SIGINT)))
    content = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(content | {"data_hash": "0"}))
    with pytest.raises(RunError, match="its hash differs"):
        runs.resume(tmp_path / "run")


def test_settings_are_checked():
    for name, value in {"epochs": 0, "lr": -1.0, "beta": float("nan"), "precision": "bf16", "seed": -1}.items():
        with pytest.raises(InferenceError, match=name):
            Settings(**{name: value})


FREED = """
import resource, runpy, sys
import numpy as np

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        several = [np.ones(2**19) for _ in range(4)]
        del several
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
runpy.run_path(sys.argv[1])["keep_freed_memory"]()
first = faults()
print(before, first, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept_for_the_next_step():
    out = subprocess.run([sys.executable, "-c", FREED, machine.__file__], capture_output=True, text=True, check=True)
    before, first, then = map(int, out.stdout.split())
    assert before > 10 * first  # the first round has to get it
    assert then < 10


def test_where_a_latent_is_global_all_training_data_are_judged(tmp_path, no_figures):
    covariates = np.linspace(-1, 1, 60)
    np.savez(tmp_path / "line.npz", x=covariates.round(1), covariates=covariates)
    run = tiny(f"{tmp_path / 'line.npz'}:real", "linear_regression", {})
    metrics = runs.start(run, tmp_path / "run")
    assert metrics["train"]["elbo"]["n"] == 48
    assert metrics["test"]["elbo"]["n"] == 6
