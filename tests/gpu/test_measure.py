"""The parts of the GPU's measurements that a CPU can run, and their file in that of the benchmark."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gallery.cli.main import main

SCRIPT = Path(__file__).parent / "measure.py"


@pytest.mark.slow
def test_what_a_cpu_can_run_of_the_measurements(tmp_path):
    parts = "capture,host_reads,precision,checkpoint"
    command = [sys.executable, str(SCRIPT), str(tmp_path / "gpu.json"), "--device", "cpu", "--parts", parts]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert content["capture"]["autoencoder"] < 1e-4
    assert content["host_reads"] == {"reads": 0}


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
