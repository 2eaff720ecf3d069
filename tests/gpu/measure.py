"""Measure on a GPU: python tests/gpu/measure.py RESULTS.json [--device cpu] [--seconds 0.5]

capture     a captured step against Pyro's: equal where nothing is drawn, equal on average where something is
host_reads  none in an epoch, between two checks of the loss
precision   error of loss and gradient in bfloat16 and TF32, against float32 with the same noise
epochs      seconds of an epoch of 60,000 images, of each deep model
checkpoint  of this device, continued on the CPU
bench       `gallery bench` of all cases

A part that fails is reported with its error, and the exit code is 1. On the CPU all parts run but TF32.
"""

import argparse
import copy
import json
import math
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gallery.bench import bench, hardware, versions
from gallery.bench.cases import CASES, Case
from inference import SVI

DRAWS = 200
STEPS = 50
READS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default)

DEEP = {name: CASES[name] for name in ("vae", "gmvae", "vrnn")} | {
    "cvae": Case("cvae", {}, {"batch_size": 100}, "binary"),
    "ss_vae": Case("ss_vae", {}, {"batch_size": 100, "objective": "enum_analytic"}, "binary"),
}
LABELLED = ("cvae", "ss_vae")

AUTOENCODER = Case("autoencoder", {"likelihood": "gaussian"}, {"batch_size": 100}, "grey")  # draws nothing


def fit(case: Case, mode: str, device: str, **settings: Any) -> SVI:
    """Return a fit from the weights of seed 0."""
    torch.manual_seed(0)
    (x, given), pair = case.load(), case.build()
    svi = SVI(pair.to(device), x.to(device), given, case.fit(device=device, **settings))
    svi.runner.mode = mode
    svi.pair.train()
    return svi


def distance(one: list, other: list) -> float:
    """Return the largest difference, relative to the largest element of each tensor."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and a.numel()]
    return max((a - b).abs().max().item() / max(b.abs().max().item(), 1e-30) for a, b in pairs)


def step_of(svi: SVI, seed: int = 1) -> list:
    """Return copies of loss and gradients of the first minibatch."""
    step, args = svi.runner.prepare()[0], svi.loss.step_arguments(svi.rows(0), svi.runner.guard.failed)
    torch.manual_seed(seed)
    with torch.no_grad():
        return [value if value is None else value.clone() for value in step(*args)[1:]]


def capture(device: str) -> dict[str, float]:
    result = {}
    exact = [step_of(fit(AUTOENCODER, mode, device)) for mode in ("compiled", "eager")]
    result["autoencoder"] = distance(*exact)
    assert result["autoencoder"] < 1e-4, result
    for name in ("factor_analysis", "vae", "gmvae"):
        runs = []
        for mode in ("compiled", "eager"):
            svi = fit(CASES[name], mode, device)
            runs.append(torch.stack([step_of(svi, seed)[0] for seed in range(DRAWS)]).double())
        apart = (runs[0].mean() - runs[1].mean()).item()
        error = math.sqrt(sum(run.var().item() for run in runs) / DRAWS)
        result[name] = apart / error  # in standard errors of the difference
        assert abs(result[name]) < 4, result
    return result


class Reads(TorchDispatchMode):
    """Counts the tensors that are read on the host."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function in READS
        return function(*args, **(kwargs or {}))


@contextmanager
def no_synchronisation(device: str):
    """Raise an error at a synchronisation with the GPU; on the CPU count the reads."""
    if device != "cpu":
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return
    with Reads() as reads:
        yield
    assert reads.count == 0, reads.count


def host_reads(device: str) -> dict[str, int]:
    for case in CASES.values():
        svi = fit(case, "graph" if device == "cpu" else "compiled", device, epochs=1000)
        svi.train_step()
        steps = 3 if device == "cpu" else STEPS
        with no_synchronisation(device):
            for _ in range(steps):
                svi.train_step()
    return {"reads": 0}


def precision(device: str) -> dict[str, dict[str, float]]:
    result: dict[str, dict[str, float]] = {}
    for name in ("vae", "gmvae"):
        exact = step_of(fit(CASES[name], "graph", device))
        result[name] = {"bfloat16": distance(step_of(fit(CASES[name], "graph", device, precision="bfloat16")), exact)}
        if device != "cpu":
            torch.backends.cuda.matmul.allow_tf32 = True
            result[name]["tf32"] = distance(step_of(fit(CASES[name], "graph", device)), exact)
            torch.backends.cuda.matmul.allow_tf32 = False
    return result


def epochs(device: str) -> dict[str, float]:
    """Return the seconds of an epoch of 60,000 images, from the steps of one second."""
    result = {}
    for name, case in DEEP.items():
        torch.manual_seed(0)
        x, _ = case.load()
        given = torch.randint(10, (len(x),), device=x.device).to(device) if name in LABELLED else None
        svi = SVI(case.build().to(device), x.to(device), given, case.fit(device=device))
        svi.runner.mode = "graph" if device == "cpu" else "compiled"
        svi.train_step()
        steps, start = 0, time.perf_counter()
        while time.perf_counter() - start < 1.0:
            svi.train_step().item()
            steps += 1
        result[name] = (time.perf_counter() - start) / steps * len(x) / svi.batch_size
    return result


def checkpoint(device: str) -> dict[str, float]:
    there, here = fit(CASES["vae"], "graph", device), fit(CASES["vae"], "graph", "cpu")
    for _ in range(5):
        there.train_step()
    here.set_state(*copy.deepcopy(there.state()))
    losses = [svi.loss(torch.arange(100, device=svi.x.device)).item() / len(svi.x) for svi in (there, here)]
    here.train_step()
    assert math.isclose(*losses, rel_tol=0.02), losses
    return {"there": losses[0], "here": losses[1]}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--parts", default="capture,host_reads,precision,epochs,checkpoint,bench")
    chosen = parser.parse_args()
    known: dict[str, Callable[[], Any]] = {
        part.__name__: lambda part=part: part(chosen.device)
        for part in (capture, host_reads, precision, epochs, checkpoint)
    } | {"bench": lambda: bench(seconds=chosen.seconds)}
    content: dict[str, Any] = {"hardware": hardware(), "versions": versions(), "started": time.strftime("%Y-%m-%d")}
    failed = False
    for name in chosen.parts.split(","):
        start = time.perf_counter()
        try:
            content[name] = known[name]()
        except Exception as error:  # the other parts are measured all the same
            traceback.print_exc()
            content[name], failed = {"error": " ".join(str(error).split())[:200]}, True
        print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)
        chosen.results.write_text(json.dumps(content, indent=2) + "\n")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
