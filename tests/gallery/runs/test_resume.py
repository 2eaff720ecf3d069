"""A run resumes to the bit after kill -9, and is never half-written."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import pytest
import torch
from tiny_runs import history, same, tiny, weights

from gallery.cli.main import main
from gallery.errors import RunError
from gallery.runs import Run, resume, start
from inference import InferenceError
from inference.fit.checkpoint import load_tensors, save_tensors

TINY_FLAGS = ["--hidden", "16", "--latent-dim", "2", "--lr-schedule", "cosine", "--warmup", "1"]


@pytest.mark.integration
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
    resume(folder)
    start(Run.from_json(folder / "run.json")[0], through)
    assert same(weights(folder), weights(through))
    assert history(folder) == history(through)


def test_resume_from_the_middle_of_an_epoch_in_every_mode(tmp_path, after):
    """Stopped at step 17 of 30, where a checkpoint is written; also with float64, particles and a schedule."""
    settings = {"precision": "float64", "particles": 2, "lr_schedule": "linear", "objective": "analytic"}
    for name, run in {"plain": tiny(), "rich": tiny(**settings), "given": tiny("digits:static", "cvae")}.items():
        start(run, tmp_path / name / "through")
        stop = after(17, lambda svi: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            start(run, tmp_path / name / "stopped", listener=stop)
        assert load_tensors(tmp_path / name / "stopped" / "checkpoint.safetensors")[1]["step"] == 17
        resume(tmp_path / name / "stopped")
        assert same(weights(tmp_path / name / "stopped"), weights(tmp_path / name / "through"))
        assert history(tmp_path / name / "stopped") == history(tmp_path / name / "through")


@pytest.mark.parametrize(("recorded", "exact", "expected"), [("onednn", True, "onednn"), ("onednn", False, "default")])
def test_a_resumed_run_has_the_products_of_its_checkpoint_where_they_are_exact(
    tmp_path, after, monkeypatch, recorded, exact, expected
):
    """The library is recorded in checkpoint and metrics, whatever another process would decide."""
    monkeypatch.setattr("inference.fit.svi.choose_products", lambda *_: recorded)
    with pytest.raises(KeyboardInterrupt):
        start(tiny(), tmp_path / "run", listener=after(17, lambda svi: os.kill(os.getpid(), signal.SIGINT)))
    assert load_tensors(tmp_path / "run" / "checkpoint.safetensors")[1]["products"] == recorded
    monkeypatch.setattr("inference.fit.svi.choose_products", lambda *_: "default")
    monkeypatch.setattr("gallery.runs.loop.is_exact", lambda: exact)
    assert resume(tmp_path / "run")["products"] == expected


def test_a_damaged_checkpoint_is_named_and_nothing_is_overwritten(tmp_path, after):
    def stop(svi):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        start(tiny(), tmp_path / "run", listener=after(5, stop))
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    whole = checkpoint.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"\xff" * 100):
        checkpoint.write_bytes(damaged)
        with pytest.raises(InferenceError, match=r"checkpoint\.safetensors is damaged"):
            resume(tmp_path / "run")
        assert checkpoint.read_bytes() == damaged
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        resume(tmp_path / "run")


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
        start(tiny("digits:threshold"), tmp_path / "run", listener=after(17, break_it))
    tensors, about = load_tensors(tmp_path / "run" / "checkpoint.safetensors")
    assert about["step"] == 15
    assert all(value.isfinite().all() for name, value in tensors.items() if name.startswith("weights."))
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_an_infinite_log_density_is_named_by_its_site(tmp_path, after):
    def blow_up(svi):
        with torch.no_grad():
            svi.pair.encoder[1].linear.bias[0] = 1e30

    with pytest.raises(InferenceError, match="log-density of site z is the first"):
        start(tiny("digits:threshold"), tmp_path / "run", listener=after(3, blow_up))


def test_other_data_than_the_run_was_begun_with_are_refused(tmp_path, after):
    with pytest.raises(KeyboardInterrupt):
        start(tiny(), tmp_path / "run", listener=after(5, lambda svi: os.kill(os.getpid(), signal.SIGINT)))
    content = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(content | {"data_hash": "0"}))
    with pytest.raises(RunError, match=r"the training rows of .* have changed since .* their hash differs"):
        resume(tmp_path / "run")
    changed = content | {"hashes": content["hashes"] | {"test": "0"}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(changed))
    with pytest.raises(RunError, match=r"the test rows of .* have changed"):
        resume(tmp_path / "run")
