"""A run: one fit, in a folder that says everything about it and from which it goes on after any interruption.

run.json                what was run: model, keywords, data, settings, threads, versions
history.jsonl           a line for every epoch
checkpoint.safetensors  weights, optimiser, random generators and position, one atomic file
weights.safetensors     the fitted weights
metrics.json            what they are worth
figures/                what they show
draws.nc, onnx/, tensorboard/    what was exported, where that was asked for
"""

import json
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

import filelock
import torch
from torch import nn

import data
from gallery.errors import RunError
from gallery.runs.metrics import evaluate_split, monitor_clustering
from gallery.runs.specification import Run
from gallery.runs.system import keep_freed_memory, processor
from inference import SVI, InferenceError, collapsed, monitor_elbo
from inference.files import write_atomically
from inference.fit import distributed
from inference.fit.checkpoint import load_tensors, save_tensors
from inference.pairs.info import inspect_pair
from inference.pairs.run import Batch

SYNC_EVERY = 20  # between questions of several processes to each other: is one of them to stop?
CHECKPOINT_SECONDS = 60.0  # between checkpoints within an epoch; there is one at the end of every epoch
MONITOR_ROWS = 500  # rows of training data that are looked at after an epoch: has a latent collapsed?
FILES = ("run.json", "history.jsonl", "checkpoint.safetensors", "weights.safetensors", "metrics.json", "draws.nc")
FOLDERS = ("figures", "tensorboard", "onnx")


class Watcher(Protocol):
    """Is told how a fit goes on."""

    def begin(self, svi: SVI, run: Run) -> None: ...
    def step(self, step: int, loss: torch.Tensor) -> None: ...
    def epoch(self, line: dict) -> None: ...


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise RunError(f"{folder} is being written by another process: wait for it, or choose another --run.") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C or SIGTERM into a question to ask between steps; the second acts at once."""
    asked: list[int] = []

    def note(number, frame):
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(number, note) for number in numbers]
    except ValueError:  # not the main thread: signals are somebody else's
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def start(run: Run, folder: Path, overwrite: bool = False, watcher: Watcher | None = None) -> dict:
    """Fits a run into a new folder; returns its metrics. All that can be refused is refused before it exists.

    :raises RunError: if the folder holds a run already (and `overwrite` is not set) or other files
    :raises InferenceError: if model, data and settings do not go together, or the loss is not finite
    """
    folder = Path(folder)
    if distributed.rank():  # number 0 writes
        splits = run.datasets()
        return _train(run, _prepare(run, splits), splits, folder, None)
    if folder.is_dir():
        if (folder / "run.json").exists():
            if not overwrite:
                raise RunError(
                    f"{folder} holds a run already: `gallery resume {folder}` continues it, --overwrite replaces it, "
                    "--run DIR writes elsewhere."
                )
        elif any(path.name != ".lock" for path in folder.iterdir()):
            raise RunError(f"{folder} holds other files: choose an empty or new folder with --run DIR.")
    elif folder.exists():
        raise RunError(f"{folder} is a file: choose a folder with --run DIR.")
    splits = run.datasets()
    svi = _prepare(run, splits)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {folder}: {error.strerror}.") from error
    with _locked(folder):
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        for name in FOLDERS:
            shutil.rmtree(folder / name, ignore_errors=True)
        write_atomically(folder / "run.json", run.to_json(splits["train"]).encode())
        return _train(run, svi, splits, folder, watcher)


def resume(folder: Path, watcher: Watcher | None = None) -> dict:
    """Continues a run from its checkpoint, to the bits of a run that was never interrupted; returns its metrics.

    :raises RunError: if there is no run, its data are others now, or another process is at it
    :raises InferenceError: if the checkpoint is damaged
    """
    folder = Path(folder)
    run, data_hash = Run.from_json(folder / "run.json")
    with _locked(folder) if distributed.rank() == 0 else nullcontext():
        if (folder / "metrics.json").exists():
            raise RunError(f"{folder} is finished: there is nothing to resume. `gallery evaluate {folder}` judges it.")
        splits = run.datasets()
        if splits["train"].hash != data_hash:
            raise RunError(f"{run.data} is not what {folder} was begun with: its hash differs. Restore the data.")
        torch.set_num_threads(run.threads)
        svi = _prepare(run, splits)
        if (folder / "checkpoint.safetensors").exists():
            return _train(run, svi, splits, folder, watcher, *load_tensors(folder / "checkpoint.safetensors"))
        return _train(run, svi, splits, folder, watcher)


def load(folder: Path) -> tuple[Run, nn.Module]:
    """(run, fitted pair) of a folder: the final weights, or those of the checkpoint where the run is not finished.

    :raises RunError: if the folder holds no run, or nothing was fitted yet
    """
    folder = Path(folder)
    run, _ = Run.from_json(folder / "run.json")
    pair = run.build()
    if (folder / "weights.safetensors").exists():
        weights, _ = load_tensors(folder / "weights.safetensors")
    else:
        tensors, _ = load_tensors(folder / "checkpoint.safetensors")
        weights = {name.removeprefix("weights."): v for name, v in tensors.items() if name.startswith("weights.")}
    try:
        pair.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(f"the weights in {folder} do not fit {run.model}: has its class changed since?") from error
    return run, pair


def _collapsed(svi: SVI) -> list[str]:
    """Latents that say nothing of a few rows of training data, once the KL has its whole weight."""
    if not svi.beta or svi.beta < svi.settings.beta or svi.plan.is_per_data_point:
        return []
    few = Batch(svi.x, svi.given)[:MONITOR_ROWS]
    return collapsed(svi.pair, svi.transform(few.x), few.given)


def _prepare(run: Run, splits: dict[str, data.Dataset]) -> SVI:
    train = splits["train"]
    torch.manual_seed(run.settings.seed)
    pair = run.build()
    try:
        svi = SVI(pair, train.x, train.given, run.settings, train.transform)
        told = {id(parameter) for parameter in svi.parameters}
        left = [name for name, p in pair.named_parameters() if p.requires_grad and id(p) not in told]
        if left:
            raise InferenceError(
                f"{', '.join(left)} would not be learnt: neither model nor guide registers it by pyro.module. "
                f"`gallery check {run.model}` says more."
            )
        return svi
    except InferenceError as error:
        remedies = ""
        if train.is_image and str(error).startswith("Bernoulli needs values"):
            base, labels = re.fullmatch(r"(.+):\w+?((?::\d+-labels.*)?)", train.name).groups()
            binary = ", ".join(f"{base}:{law}{labels}" for law in ("threshold", "static", "dynamic"))
            other = ", or --likelihood continuous_bernoulli" if "likelihood" in run.keywords else ""
            remedies = f" Use --data {binary}{other}."
        raise RunError(f"{run.model} on {run.data}: {error}{remedies}") from error


def _train(
    run: Run,
    svi: SVI,
    splits: dict[str, data.Dataset],
    folder: Path,
    watcher: Watcher | None,
    tensors: dict[str, torch.Tensor] | None = None,
    about: dict | None = None,
) -> dict:
    keep_freed_memory()
    path = folder / "checkpoint.safetensors"
    if tensors is not None:
        svi.set_state(tensors, about)
        total, count, seconds = tensors["epoch.loss"], about["count"], about["seconds"]
    else:
        total, count, seconds = torch.zeros((), dtype=torch.float64), 0, 0.0
    total = total.to(svi.x.device)
    epoch, history = svi.epoch, []
    if (folder / "history.jsonl").exists():
        lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        history = [line for line in lines if line["epoch"] <= epoch]

    def save() -> None:
        state, position = svi.state()
        broken = [name for name, value in state.items() if name.startswith("weights.") and not value.isfinite().all()]
        if broken:
            name = broken[0].removeprefix("weights.")
            raise InferenceError(f"{name} is not finite after step {svi.step}: the last good checkpoint is kept.")
        if distributed.rank() == 0:
            save_tensors(path, state | {"epoch.loss": total}, position | {"count": count, "seconds": seconds})

    def held_out() -> dict[str, dict[str, float]]:
        return {
            name: monitor_elbo(svi.pair, split.x, split.given) | monitor_clustering(svi.pair, split)
            for name, split in splits.items()
            if name != "train" and not svi.plan.is_per_data_point
        }

    writes = distributed.rank() == 0
    if tensors is None:
        save()
    if watcher:
        watcher.begin(svi, run)
    with _interruptible() as interrupted:
        clock = saved = time.perf_counter()
        for step, loss in svi:
            total += loss
            count += 1
            if watcher:
                watcher.step(step, loss)
            now = time.perf_counter()
            if svi.epoch > epoch:
                seconds, epoch = seconds + now - clock, svi.epoch
                line = {"epoch": epoch, "step": step, "loss": total.item() / count, "loss_is_bound": svi.is_bound}
                line |= (held_out() if writes else {}) | {"lr": svi.lr, "beta": svi.beta, "seconds": round(seconds, 3)}
                if writes and (silent := _collapsed(svi)):
                    line["collapsed"] = silent
                history.append(line)
                total.zero_()
                count = 0
                if writes:
                    write_atomically(folder / "history.jsonl", "".join(json.dumps(h) + "\n" for h in history).encode())
                if watcher:
                    watcher.epoch(line)
                save()
                clock = saved = time.perf_counter()
            if distributed.workers() > 1 and step % SYNC_EVERY:
                continue
            late, stop = distributed.any_worker(now - saved > CHECKPOINT_SECONDS), distributed.any_worker(interrupted())
            if late or stop:
                seconds += now - clock
                save()
                clock = saved = time.perf_counter()
            if stop:
                raise KeyboardInterrupt
    if not writes:
        return {}
    return _finish(run, svi, splits, folder, history, seconds)


def _finish(run: Run, svi: SVI, splits: dict[str, data.Dataset], folder: Path, history: list[dict], seconds) -> dict:
    from gallery.figures import draw

    save_tensors(folder / "weights.safetensors", svi.pair.state_dict(), {"model": run.model, "keywords": run.keywords})
    train, test = splits["train"], splits["test"]
    info = inspect_pair(svi.pair, Batch(train.scored(), train.given).args(svi.pair))
    few = train if info.has_global_latent else train.head(len(test))  # all training data share a global latent
    metrics: dict = {
        "test": evaluate_split(svi.pair, test, held_out=True),
        "train": evaluate_split(svi.pair, few, held_out=False),
    }
    metrics["is_bound"] = "elbo" in metrics["test"]
    metrics |= {
        "seconds": round(seconds, 3),
        "steps_per_second": round(svi.steps / seconds, 2) if seconds else None,
        "epochs": run.settings.epochs,
        "steps": svi.steps,
        "device": str(svi.x.device),
        "processor": processor(),
        "data": run.data,
        "data_hash": train.hash,
    }
    draw(svi.pair, splits, history, folder / "figures")
    write_atomically(folder / "metrics.json", (json.dumps(metrics, indent=2) + "\n").encode())
    return metrics
