"""`gallery export` on the command line, and scalars for TensorBoard."""

import json

import pytest
import torch
from export_cases import refused
from safetensors.torch import load_file

from gallery.cli.main import main
from gallery.report import export

pytestmark = pytest.mark.integration

TINY = ["--hidden", "16", "--latent-dim", "2", "--epochs", "2", "--batch-size", "400"]


@pytest.mark.parametrize("extra", ["arviz", "onnx", "tensorboard"])
def test_a_missing_package_is_named(extra, folder, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    command = ["export", folder, "--to", extra, "--out", tmp_path / "x.nc"]
    if extra == "tensorboard":
        command = ["fit", "vae", "--data", "digits:threshold", "--run", tmp_path / "run", "--tensorboard"]
    assert f"pip install latent-gallery[{extra}]" in refused(capsys, *command)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--to csv", '"arviz", "onnx"'),
        ("--to arviz --out {tmp}/x.zarr", "ends in .nc"),
        ("--to arviz --out {tmp}/no/x.nc", "Create it first"),
        ("--to arviz --out {tmp}/x.nc --draws 0", "expected draws >= 1"),
        ("--to arviz --out {tmp}/x.nc --n 0", "Use n >= 1"),
        ("--to arviz --out {tmp}/x.nc --draws 9999999", "GiB"),
        ("--to arviz --out {tmp}/x.nc --data digits:grey", "{0, 1}"),
        ("--to arviz --out {tmp}/x.nc --data factor_analysis", "rows of 3 values"),
    ],
)
def test_bad_requests(arguments, words, folder, capsys, tmp_path, az):
    assert words in refused(capsys, "export", folder, *arguments.replace("{tmp}", str(tmp_path)).split())
    assert not list(tmp_path.iterdir())


def test_scalars_of_every_epoch(folder, tmp_path, capsys):
    pytest.importorskip("tensorboard", reason="pip install latent-gallery[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    command = ["fit", "vae", "--data", "digits:threshold", *TINY, "--run", str(tmp_path / "run")]
    assert main([*command, "--tensorboard"]) == 0
    weights = [load_file(path / "weights.safetensors") for path in (folder, tmp_path / "run")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])  # monitoring changes nothing
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    for tag, values in {
        "loss": [line["loss"] for line in history],
        "elbo/test": [line["test"]["elbo"] for line in history],
    }.items():
        assert [event.step for event in events.Scalars(tag)] == [line["step"] for line in history]
        assert [event.value for event in events.Scalars(tag)] == pytest.approx(values, rel=1e-6)  # kept in float32
    assert all(event.value >= 0 for event in events.Scalars("kl/z"))
    assert main([*command, "--overwrite"]) == 0
    assert not (tmp_path / "run" / "tensorboard").exists()  # they were of the run that was replaced
