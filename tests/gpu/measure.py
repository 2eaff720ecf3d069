"""Measure on a GPU: python tests/gpu/measure.py RESULTS.json [--device cpu] [--seconds 0.5] [--limits 1]

capture     loss and gradient of a captured step against Pyro's: equal where nothing is drawn, else equal on average
host_reads  none in an epoch, of a few minibatches
precision   error of loss and gradient in bfloat16 and TF32, against float32 with the same noise
checkpoint  written to a file on this device, continued on the CPU
rows        of which a guide for each data point has no parameters: refused, and the device goes on
epochs      seconds of an epoch of each model with more than MOST_WEIGHTS weights, from the steps of --seconds
bench       `gallery bench` of each case of the benchmark

A part that fails, or is not finished after its limit in seconds, is reported with its error and what it has measured,
and the exit code is 1; the others run all the same. On the CPU all parts run but TF32.
"""

import argparse
import json
import math
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from data import DataError
from gallery.bench import bench, hardware, versions
from gallery.bench.cases import CASES, Case
from gallery.catalogue.recipes import RECIPES
from gallery.models import MODELS
from gallery.runs.registry import constructor, model_class
from gallery.runs.specification import Run
from inference import SVI, FittedRows, InferenceError, Pair, Settings, evaluate
from inference.fit.checkpoint import load_tensors, save_tensors
from inference.fit.whole_step import MOST_WEIGHTS
from inference.pairs.run import arguments

DRAWS, DRAWS_ON_CPU = 200, 20
ERRORS = 4  # standard errors between two means
EPOCH = 10  # minibatches, fewer than there are between two checks of the losses
IMAGES, PIXELS = 60_000, 784
READS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default)
LIMITS = {"capture": 70, "host_reads": 45, "precision": 15, "checkpoint": 5, "rows": 5, "epochs": 60, "bench": 90}
"""The parts and their limits in seconds, which with the start are less than five minutes."""

AUTOENCODER = Case("autoencoder", {"likelihood": "gaussian"}, {"batch_size": 100}, "grey")  # draws nothing


class OutOfTime(BaseException):
    """The limit of a part. It is no Exception: compilers catch those and go on."""


def fit(case: Case, mode: str, device: str, rows: int | None = None, **settings: Any) -> SVI:
    """Return a fit from the weights of seed 0.

    :param rows: number of minibatches of the data; all data without it
    """
    torch.manual_seed(0)
    chosen = case.fit(device=device, **settings)
    (x, given), pair = case.load(), case.build()
    if rows is not None:
        x, given = (None if of is None else of[: rows * chosen.batch_size] for of in (x, given))
    svi = SVI(pair.to(device), x.to(device), given, chosen)
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


def along(gradients: list, seed: int = 0) -> Tensor:
    """Return the gradient along a direction, whose elements are 1 or -1: a number that any element changes."""
    noise = torch.Generator().manual_seed(seed)
    signs = [None if g is None else 2 * torch.randint(2, g.shape, generator=noise) - 1 for g in gradients]
    products = [(g * s.to(g)).sum() for g, s in zip(gradients, signs, strict=True) if g is not None and s is not None]
    return torch.stack(products).sum()


def capture(device: str, result: dict[str, Any], chosen: argparse.Namespace) -> None:
    exact = [step_of(fit(AUTOENCODER, mode, device)) for mode in ("compiled", "eager")]
    result["autoencoder"] = distance(*exact)
    assert result["autoencoder"] < 1e-4, result
    draws = DRAWS_ON_CPU if device == "cpu" else DRAWS
    for name in ("factor_analysis", "vae", "gmvae"):
        runs = []
        for mode in ("compiled", "eager"):
            svi = fit(CASES[name], mode, device)
            steps = (step_of(svi, seed) for seed in range(draws))
            runs.append(torch.stack([torch.stack([loss, along(gradients)]) for loss, *gradients in steps]).double())
        apart = runs[0].mean(0) - runs[1].mean(0)
        error = (sum(run.var(0) for run in runs) / draws).sqrt()
        errors = dict(zip(("loss", "gradient"), (apart / error).tolist(), strict=True))
        result[name] = errors  # in standard errors of the difference
        assert all(abs(value) < ERRORS for value in errors.values()), result


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


def host_reads(device: str, result: dict[str, Any], chosen: argparse.Namespace) -> None:
    for name, case in CASES.items():
        svi = fit(case, "graph" if device == "cpu" else "compiled", device, epochs=1000, rows=EPOCH)
        svi.train_step()
        first, epoch = svi.step, svi.epoch
        with no_synchronisation(device):
            for _ in range(EPOCH):  # the end of an epoch and the order of the next among them
                svi.train_step()
        assert svi.epoch == epoch + 1, (svi.step, svi.epoch)
        result[name] = {"steps": svi.step - first, "reads": 0}


def precision(device: str, result: dict[str, Any], chosen: argparse.Namespace) -> None:
    for name in ("vae", "gmvae"):
        exact = step_of(fit(CASES[name], "graph", device))
        result[name] = {"bfloat16": distance(step_of(fit(CASES[name], "graph", device, precision="bfloat16")), exact)}
        if device != "cpu":
            torch.backends.cuda.matmul.allow_tf32 = True
            result[name]["tf32"] = distance(step_of(fit(CASES[name], "graph", device)), exact)
            torch.backends.cuda.matmul.allow_tf32 = False


def checkpoint(device: str, result: dict[str, Any], chosen: argparse.Namespace) -> None:
    there, here = fit(CASES["vae"], "graph", device), fit(CASES["vae"], "graph", "cpu")
    for _ in range(5):
        there.train_step()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "checkpoint.safetensors"
        save_tensors(file, *there.state())
        here.set_state(*load_tensors(file))
    losses = [svi.loss(torch.arange(100, device=svi.x.device)).item() / len(svi.x) for svi in (there, here)]
    here.train_step()
    result |= {"there": losses[0], "here": losses[1], "step": here.step}
    assert here.step == there.step + 1, result
    assert math.isclose(*losses, rel_tol=0.02), result


def rows(device: str, result: dict[str, Any], chosen: argparse.Namespace) -> None:
    pair, x = model_class("exponential_gaussian:per_datum")(3).to(device), torch.ones(2, 1, device=device)
    for first in (1, 2, 1):
        try:
            with FittedRows(first):
                evaluate(pair, x, held_out=False)
            result[f"{first} and {first + 1}"] = "evaluated"
        except InferenceError:
            result[f"{first} and {first + 1}"] = "refused"
    assert result == {"1 and 2": "evaluated", "2 and 3": "refused"}, result


def deep(device: str) -> Iterator[tuple[str, Pair, Tensor, Tensor | None, Any, Settings]]:
    """Yield (name, pair, x, given, transform, settings) of models with more than MOST_WEIGHTS weights, families first.

    They are fitted as by their recipe. Where its data are not on this machine, random images take their place, if the
    model is one of images of PIXELS pixels; of other models a further recipe is taken.
    """
    for name in sorted(MODELS, key=lambda name: ":" in name):
        for recipe in (recipe for recipe in RECIPES.values() if recipe.model == name):
            settings = Settings(**recipe.settings | {"device": device, "engine": "graph"})
            transform = None
            try:
                run = Run.of(name, recipe, settings={"device": device})
                pair, train = run.build(), run.datasets()["train"]
                x, given, transform = train.x, train.given, train.transform
            except DataError:
                size = constructor(model_class(name)).get("data_dim")
                if size is None or size.default != PIXELS:
                    continue
                pair = model_class(name)(**recipe.keywords).to(device)
                x = (torch.rand(IMAGES, PIXELS, device=device) < 0.13).float()
                given = torch.randint(10, (IMAGES,), device=device)
                given = given if len(arguments(pair, x[:1], given[:1])) > 1 else None
            if sum(parameter.numel() for parameter in pair.parameters()) > MOST_WEIGHTS:
                yield name, pair, x, given, transform, settings
            break


def epochs(device: str, result: dict[str, Any], chosen: argparse.Namespace) -> None:
    for name, pair, x, given, transform, settings in deep(device):
        if chosen.models and name not in chosen.models.split(","):
            continue
        svi = SVI(pair, x, given, settings, transform)
        svi.train_step()
        steps, start = 0, time.perf_counter()
        while not steps or time.perf_counter() - start < chosen.seconds:
            svi.train_step().item()
            steps += 1
        seconds = (time.perf_counter() - start) / steps * len(x) / svi.batch_size
        result[name] = {"seconds": seconds, "rows": len(x), "timed_steps": steps}


def bench_cases(device: str, result: dict[str, Any], chosen: argparse.Namespace) -> None:
    for name in chosen.cases.split(","):
        measured = bench([name], seconds=chosen.seconds, device=device)
        result |= {key: result.get(key, value) for key, value in measured.items()}  # hardware and how of the first


PARTS = {
    "capture": capture,
    "host_reads": host_reads,
    "precision": precision,
    "checkpoint": checkpoint,
    "rows": rows,
    "epochs": epochs,
    "bench": bench_cases,
}


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """:raises OutOfTime: if the block is not finished after that time"""

    def stop(*_: Any) -> None:
        raise OutOfTime(f"not finished after {seconds:g} s")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=0.5, help="for which a contestant or a model is timed")
    parser.add_argument("--limits", type=float, default=1.0, help="times the limit of each part")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--cases", default=",".join(CASES), help="of the benchmark")
    parser.add_argument("--models", default="", help="whose epochs are timed; all if empty")
    chosen = parser.parse_args()
    try:
        about = {"hardware": hardware(chosen.device), "versions": versions(), "started": time.strftime("%Y-%m-%d")}
    except InferenceError as error:
        parser.exit(2, f"{error}\n")
    content: dict[str, Any] = about
    failed = False
    for name in chosen.parts.split(","):
        start = time.perf_counter()
        content[name] = {}
        try:
            with limited(chosen.limits * LIMITS[name]):
                PARTS[name](chosen.device, content[name], chosen)
        except (Exception, OutOfTime) as error:  # the other parts are measured all the same
            traceback.print_exc()
            content[name]["error"], failed = " ".join(str(error).split())[:200], True
        print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)
        chosen.results.write_text(json.dumps(content, indent=2) + "\n")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
