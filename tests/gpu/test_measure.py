"""The parts of the GPU's measurements that a CPU can run, and their file in that of the benchmark."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from data import DataError
from gallery.bench import CASES, table
from gallery.cli.main import main
from gallery.runs.specification import Run

SCRIPT = Path(__file__).parent / "measure.py"
spec = importlib.util.spec_from_file_location("measure", SCRIPT)
assert spec is not None
assert spec.loader is not None
measure = importlib.util.module_from_spec(spec)
spec.loader.exec_module(measure)
LIMITS, PARTS = measure.LIMITS, measure.PARTS


RUN = Path(__file__).parent / "run.sh"
EPOCHS = {"autoencoder", "cvae", "vae:flow"}
SHORT = ["--device", "cpu", "--cases", "factor_analysis", "--models", ",".join(sorted(EPOCHS)), "--seconds", "0.02"]


def run(*words, **environment):
    environment = os.environ | {"PYTHON": sys.executable} | environment
    return subprocess.run(["bash", str(RUN), *words], env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_every_part_runs_on_a_cpu(tmp_path):
    file = tmp_path / "gpu.json"
    ended = run(str(file), *SHORT, "--limits", "60", LIMIT="7200", GALLERY_DATA=str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    content = json.loads(file.read_text())
    assert content["hardware"]["device"] == "cpu"
    assert content["capture"].pop("autoencoder") < 1e-4
    for errors in content["capture"].values():
        assert max(map(abs, errors.values())) < 4
    assert content["host_reads"] == {name: {"steps": 10, "reads": 0} for name in CASES}
    assert content["precision"].keys() == {"vae", "gmvae"}
    assert content["checkpoint"]["step"] == 6
    assert content["rows"] == {"1 and 2": "evaluated", "2 and 3": "refused"}
    assert content["epochs"].keys() == EPOCHS
    assert all(of["rows"] == 60_000 and of["seconds"] > 0 for of in content["epochs"].values())
    assert content["bench"]["factor_analysis"]["ms_compiled"] > 0
    assert content["bench"]["hardware"]["device"] == "cpu"


@pytest.mark.slow
def test_a_part_that_is_not_finished_in_time_is_reported_and_the_others_run(tmp_path):
    file = tmp_path / "gpu.json"
    ended = run(str(file), *SHORT, "--parts", "precision,checkpoint", "--limits", "1e-9")
    assert ended.returncode == 1, ended.stderr
    content = json.loads(file.read_text())
    assert {content[part]["error"].partition(" s")[0] for part in ("precision", "checkpoint")} == {
        "not finished after 1.5e-08",
        "not finished after 5e-09",
    }


def test_an_older_torch_is_refused_in_one_line(tmp_path):
    """By a file that stands for its metadata, before anything is installed."""
    about = tmp_path / "torch-2.10.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.10.1+cu128\n")
    ended = run(str(tmp_path / "gpu.json"), PYTHONPATH=str(tmp_path))
    assert ended.returncode == 2
    assert ended.stderr == (
        "torch 2.10.1+cu128 is here, and 2.11 or newer is needed: install it for the card of this machine.\n"
    )
    assert not (tmp_path / "gpu.json").exists()


def test_the_parts_take_less_than_five_minutes():
    (number,) = re.findall(r"timeout \"\$\{LIMIT:-(\d+)\}\"", RUN.read_text())
    assert sum(LIMITS.values()) < int(number) <= 300
    assert list(LIMITS) == list(PARTS)
    assert list(LIMITS)[-1] == "bench"


def test_deep_models_are_those_of_the_registry(monkeypatch):
    """Without data sets to download: of every family with that many weights, and of its variants."""

    def nothing(*_, **__):
        raise DataError("it is not on this machine.")

    monkeypatch.setattr(Run, "of", nothing)
    monkeypatch.setattr(measure, "IMAGES", 10)
    found = {name: given for name, _, _, given, _, _ in measure.deep("cpu")}
    assert {"vae", "vae:flow", "vae:two_layers", "vae:vamp_prior", "gmvae", "vrnn", "cvae", "ss_vae"} <= found.keys()
    assert all(found[name] is not None for name in ("cvae", "ss_vae"))
    assert found["vae"] is None
    assert "factor_analysis" not in found


def test_rows_beyond_a_fit_are_refused_and_others_evaluated():
    result = {}
    measure.rows("cpu", result, None)
    assert result == {"1 and 2": "evaluated", "2 and 3": "refused"}


def test_a_direction_sees_every_gradient():
    gradients = [torch.randn(3, 2), None, torch.randn(5)]
    expected = measure.along(gradients)
    assert torch.equal(expected, measure.along(gradients))
    for gradient in (gradients[0], gradients[2]):
        gradient.view(-1)[-1] += 1
        assert (measure.along(gradients) - expected).abs() == pytest.approx(1, abs=1e-5)
        gradient.view(-1)[-1] -= 1


def test_merged_devices_are_in_the_table():
    content = {
        "hardware": {"processor": "Abacus", "cores": 2, "threads": 2, "device": "cpu"},
        "versions": {"torch": "2.11"},
        "how": {"rounds": 7, "started": "2026-01-01", "first_compile_s": 3.21},
        "vae": {"ms_pyro": 7.2184},
    }
    part = {
        "hardware": {"device": "a card"},
        "versions": {"torch": "2.12"},
        "started": "2026-02-03",
        "capture": {"vae": {"loss": 0.12345, "gradient": -1.5}},
        "epochs": {"error": "not finished after 60 s"},
        "bench": {"hardware": {}, "how": {}, "vae": {"ms_compiled": 0.5}},
    }
    before = table(content)
    text = table(content | {"devices": {"a card": part}})
    assert text.startswith(before)
    assert "On a card: torch 2.12; 2026-02-03." in text
    assert "| capture | vae, loss | 0.123 |" in text
    assert "| epochs | error | not finished after 60 s |" in text
    assert "| SVI, the graph compiled | 0.5 |" in text


def test_a_device_is_merged_into_the_benchmark(tmp_path, capsys):
    whole, part = tmp_path / "bench.json", tmp_path / "gpu.json"
    whole.write_text(json.dumps({"hardware": {"device": "cpu"}, "vae": {"ms_pyro": 1.0}}))
    part.write_text(json.dumps({"hardware": {"device": "a card"}, "capture": {"vae": 0.1}}))
    assert main(["bench", "--merge", str(part), "--json", str(whole)]) == 0
    content = json.loads(whole.read_text())
    assert content["vae"] == {"ms_pyro": 1.0}
    assert content["devices"]["a card"]["capture"] == {"vae": 0.1}
    before = whole.read_bytes()
    part.write_text("[]")
    assert main(["bench", "--merge", str(part), "--json", str(whole)]) == 2
    assert "nothing was changed" in capsys.readouterr().err
    assert main(["bench", "--merge", str(part)]) == 2
    assert whole.read_bytes() == before
