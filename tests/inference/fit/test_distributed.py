"""Fits in two processes, started by torchrun, on the CPU."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from cases import arguments, build

from inference import SVI, Settings
from inference.fit.checkpoint import load_tensors

pytestmark = pytest.mark.integration

STEPS = """
import sys
import torch
sys.path.insert(0, "tests/helpers")
from cases import arguments, build
from inference import SVI, Settings
from inference.fit import distributed
from inference.fit.checkpoint import save_tensors

torch.set_num_threads(1)
distributed.join()
torch.manual_seed(0)
pair = build("autoencoder").double()
svi = SVI(pair, *arguments("autoencoder", torch.float64), settings=Settings(epochs=2, batch_size=3))
losses = torch.stack([loss for _, loss in svi])
rows = torch.stack([svi.rows(step) for step in range(4)])
both = distributed.gather(rows)
if distributed.rank() == 0:
    save_tensors(sys.argv[1], pair.state_dict() | {"losses": losses, "rows": torch.cat(both, 1)}, {})
distributed.leave()
"""


def torchrun(*command):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *map(str, command)]
    return subprocess.Popen(launch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def finish(process):
    output, _ = process.communicate(timeout=240)
    return process.returncode, output


def test_two_processes_take_the_steps_of_one_with_twice_the_batch(tmp_path):
    (tmp_path / "steps.py").write_text(STEPS)
    code, output = finish(torchrun(tmp_path / "steps.py", tmp_path / "two"))
    assert code == 0, output
    two, _ = load_tensors(tmp_path / "two")
    torch.manual_seed(0)
    pair = build("autoencoder").double()
    svi = SVI(pair, *arguments("autoencoder", torch.float64), settings=Settings(epochs=2, batch_size=6))
    losses = torch.stack([loss for _, loss in svi])
    torch.testing.assert_close(two.pop("losses"), losses, rtol=1e-12, atol=0)
    assert torch.equal(two.pop("rows"), torch.stack([svi.rows(step) for step in range(4)]))  # shared without overlap
    for name, value in pair.state_dict().items():
        torch.testing.assert_close(two[name], value, rtol=1e-9, atol=1e-12)


FIT = ("-m", "--", "gallery", "fit", "vae", "--data", "digits:threshold", "--latent-dim", 2, "--hidden", 16)


@pytest.mark.slow
def test_a_dead_process_ends_the_fit_and_the_rest_of_it_can_be_run(tmp_path):
    settings = ("--batch-size", 10, "--epochs", 12)
    code, output = finish(torchrun(*FIT, *settings, "--run", tmp_path / "whole"))
    assert code == 0, output
    assert output.count("  ELBO  ") == 1  # one process prints the report
    run = tmp_path / "broken"
    process = torchrun(*FIT, *settings, "--run", run)
    for _ in range(600):
        if (run / "history.jsonl").exists() and len((run / "history.jsonl").read_text().splitlines()) >= 2:
            break
        time.sleep(0.1)
    workers = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    code, output = finish(process)
    assert code != 0
    assert not (run / "metrics.json").exists()
    load_tensors(run / "checkpoint.safetensors")
    code, output = finish(torchrun("-m", "--", "gallery", "resume", run))
    assert code == 0, output
    whole, again = (load_tensors(folder / "weights.safetensors")[0] for folder in (tmp_path / "whole", run))
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    elbo = [json.loads((f / "metrics.json").read_text())["test"]["elbo"] for f in (tmp_path / "whole", run)]
    assert elbo[0] == elbo[1]


def test_a_checkpoint_of_two_processes_is_not_one_of_one():
    pair = build("vae")
    svi = SVI(pair, *arguments("vae"), settings=Settings(batch_size=4))
    tensors, about = svi.state()
    svi.set_state(tensors, about)
    before = [p.detach().clone() for p in svi.parameters]
    of_two = {
        name: torch.zeros_like(value) if name.startswith("weights.") else value for name, value in tensors.items()
    }
    of_two["worker.1.rng.cpu"] = tensors["worker.0.rng.cpu"]
    with pytest.raises(ValueError, match=r"of a fit in 2 processes; this fit has 1\. Resume with 2"):
        svi.set_state(of_two, about)
    assert all(torch.equal(a, b) for a, b in zip(svi.parameters, before, strict=True))
