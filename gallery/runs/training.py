"""The training of a run: start, resume, load."""

import inspect
import re
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import data
from gallery.errors import RunError
from gallery.runs.finish import finish
from gallery.runs.folder import (
    CHECKPOINT,
    METRICS,
    SPECIFICATION,
    check_free,
    clear,
    create,
    locked,
    read_history,
    read_weights,
    write_history,
)
from gallery.runs.interrupt import deferred_interrupt
from gallery.runs.metrics import monitor_clustering
from gallery.runs.progress import ProgressListener
from gallery.runs.specification import Run
from gallery.runs.system import keep_freed_memory
from inference import SVI, InferenceError, Pair, collapsed, monitor_elbo
from inference.files import write_atomically
from inference.fit import distributed
from inference.fit.checkpoint import load_tensors, save_tensors
from inference.pairs.capabilities import count
from inference.pairs.run import Batch

__all__ = ["load", "resume", "start"]

SYNC_EVERY = 20  # steps between two exchanges of several processes about whether to stop
CHECKPOINT_SECONDS = 60.0  # between checkpoints within an epoch; there is one at the end of every epoch
MONITOR_ROWS = 500  # training data points on which posterior collapse is checked after an epoch


def start(run: Run, folder: Path, overwrite: bool = False, listener: ProgressListener | None = None) -> dict[str, Any]:
    """Fit a run into a new folder; return its metrics.

    Everything that can be refused is refused before the folder exists. Of several processes, number 0 writes; the
    others return an empty dict.

    :param overwrite: replace a run that the folder holds
    :raises RunError: if the folder holds a run (unless `overwrite`) or other files, or if model, data and settings do
        not go together
    :raises InferenceError: if the loss is not finite
    """
    folder = Path(folder)
    if distributed.rank():
        splits = run.datasets()
        return _Training(run, _prepare(run, splits), splits, folder, None).run_to_end()
    check_free(folder, overwrite)
    splits = run.datasets()
    svi = _prepare(run, splits)
    _print_summary(run, splits, listener)
    create(folder)
    with locked(folder):
        clear(folder)
        write_atomically(folder / SPECIFICATION, run.to_json(splits["train"]).encode())
        return _Training(run, svi, splits, folder, listener).run_to_end()


def resume(folder: Path, listener: ProgressListener | None = None) -> dict[str, Any]:
    """Continue a run from its checkpoint, to the bits of an uninterrupted run; return its metrics.

    :raises RunError: if there is no run, it is finished, its data have changed, or another process writes it
    :raises InferenceError: if the checkpoint is damaged
    """
    folder = Path(folder)
    run, data_hash = Run.from_json(folder / SPECIFICATION)
    with locked(folder) if distributed.rank() == 0 else nullcontext():
        if (folder / METRICS).exists():
            raise RunError(f"{folder} is finished: nothing to resume. `gallery evaluate {folder}` evaluates it.")
        splits = run.datasets()
        if splits["train"].hash != data_hash:
            raise RunError(
                f"{run.data} is not the data that {folder} was started with: its hash differs.", "Restore the data."
            )
        torch.set_num_threads(run.threads)
        training = _Training(run, _prepare(run, splits), splits, folder, listener)
        _print_summary(run, splits, listener)
        if (folder / CHECKPOINT).exists():
            training.restore(*load_tensors(folder / CHECKPOINT))
        return training.run_to_end()


def load(folder: Path) -> tuple[Run, Pair]:
    """Return (run, fitted pair) of a folder: the final weights, or those of the checkpoint of an unfinished run.

    :raises RunError: if the folder holds no run, or its weights do not fit the model
    :raises InferenceError: if there are no weights yet
    """
    folder = Path(folder)
    run, _ = Run.from_json(folder / SPECIFICATION)
    pair = run.build()
    weights = read_weights(folder)
    try:
        pair.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(
            f"the weights in {folder} do not fit {run.model}, whose class may have changed since the fit. Restore the "
            "class, or fit it anew."
        ) from error
    return run, pair


def _print_summary(run: Run, splits: dict[str, data.Dataset], listener: ProgressListener | None) -> None:
    """Print what was read from the user's own data, where progress is shown."""
    if listener and data.is_file(run.data):
        print(*data.summary(splits), sep="\n", flush=True)


def _prepare(run: Run, splits: dict[str, data.Dataset]) -> SVI:
    """Return the fit of a run at step 0.

    :raises RunError: if model, data and settings do not go together
    """
    train = splits["train"]
    torch.manual_seed(run.settings.seed)
    pair = run.build()
    _check_labels(run, pair, splits)
    try:
        svi = SVI(pair, train.x, train.given, run.settings, train.transform)
    except InferenceError as error:
        message, remedy = getattr(error, "message", str(error)), getattr(error, "remedy", None)
        if train.is_image and message.startswith("Bernoulli needs values"):
            message, remedy = f"{message} {_binary_transforms(run, train.name)}", None
        raise RunError(f"{run.model} on {run.data}: {message}", remedy) from error
    registered = {id(parameter) for parameter in svi.parameters}
    unregistered = [name for name, p in pair.named_parameters() if p.requires_grad and id(p) not in registered]
    if unregistered:
        raise RunError(
            f"{run.model} on {run.data}: {', '.join(unregistered)} would not be learnt: neither model nor guide "
            "registers it with pyro.module.",
            f"`gallery check {run.model}` shows the clause of the contract.",
        )
    return svi


def _check_labels(run: Run, pair: Pair, splits: dict[str, data.Dataset]) -> None:
    """:raises RunError: if a label is unknown that the model conditions on, and the model has no `missing` label"""
    if "given" not in inspect.signature(pair.model).parameters or count(pair, "missing") is not None:
        return
    for name, split in splits.items():
        if split.covariates is None and split.labels is not None and (split.labels < 0).any():
            raise RunError(
                f"{run.model} on {run.data}: {name} has unknown labels, and the model conditions on the label of every "
                "data point.",
                "Remove these rows, or fit a model with the attribute `missing`, such as ss_vae.",
            )


def _binary_transforms(run: Run, name: str) -> str:
    """Return the sentence that names the binarisations of an image data set, or another likelihood."""
    match = re.fullmatch(r"(.+):\w+?((?::\d+-labels.*)?)", name)
    if match is None:
        return ""
    base, labels = match.groups()
    binary = ", ".join(f'"{base}:{transform}{labels}"' for transform in ("threshold", "static", "dynamic"))
    other = ', or likelihood="continuous_bernoulli"' if "likelihood" in run.keywords else ""
    return f"Use one of the data {binary}{other}."


class _Training:
    """The training loop of a run: steps, a line of history for every epoch, checkpoints."""

    def __init__(
        self,
        run: Run,
        svi: SVI,
        splits: dict[str, data.Dataset],
        folder: Path,
        listener: ProgressListener | None,
    ):
        self.run, self.svi, self.splits, self.folder, self.listener = run, svi, splits, folder, listener
        self.writes = distributed.rank() == 0
        self.restored = False
        self.total = torch.zeros((), dtype=torch.float64).to(svi.x.device)  # loss of the current epoch
        self.count = 0  # its steps
        self.seconds = 0.0
        self.epoch = 0
        self.history: list[dict[str, Any]] = []

    def restore(self, tensors: dict[str, Tensor], position: dict[str, Any]) -> None:
        """Continue from the content of a checkpoint."""
        self.svi.set_state(tensors, position)
        self.total = tensors["epoch.loss"].to(self.svi.x.device)
        self.count, self.seconds = position["count"], position["seconds"]
        self.restored = True

    def save(self) -> None:
        """Write the checkpoint.

        :raises InferenceError: if a weight is not finite; the previous checkpoint is kept
        """
        state, position = self.svi.state()
        broken = [name for name, value in state.items() if name.startswith("weights.") and not value.isfinite().all()]
        if broken:
            name = broken[0].removeprefix("weights.")
            raise InferenceError(
                f"the weight {name} is not finite after step {self.svi.step}; the checkpoint before it is kept.",
                "Fit with a smaller lr.",
            )
        if self.writes:
            progress = {"count": self.count, "seconds": self.seconds}
            save_tensors(self.folder / CHECKPOINT, state | {"epoch.loss": self.total}, position | progress)

    def run_to_end(self) -> dict[str, Any]:
        """Train to the last step and finish the run; return the metrics.

        :raises KeyboardInterrupt: after SIGINT or SIGTERM, once the checkpoint is written
        """
        keep_freed_memory()
        svi = self.svi
        self.epoch = svi.epoch
        self.history = read_history(self.folder, self.epoch)
        if not self.restored:
            self.save()
        if self.listener:
            self.listener.begin(svi, self.run)
        with deferred_interrupt() as interrupted:
            clock = saved = time.perf_counter()
            for step, loss in svi:
                self.total += loss
                self.count += 1
                if self.listener:
                    self.listener.step(step, loss)
                now = time.perf_counter()
                if svi.epoch > self.epoch:
                    self.seconds += now - clock
                    self._end_epoch(step)
                    clock = saved = time.perf_counter()
                if distributed.workers() > 1 and step % SYNC_EVERY:
                    continue
                late, stop = (
                    distributed.any_worker(now - saved > CHECKPOINT_SECONDS),
                    distributed.any_worker(interrupted()),
                )
                if late or stop:
                    self.seconds += now - clock
                    self.save()
                    clock = saved = time.perf_counter()
                if stop:
                    raise KeyboardInterrupt
        if not self.writes:
            return {}
        return finish(self.run, svi, self.splits, self.folder, self.history, self.seconds)

    def _end_epoch(self, step: int) -> None:
        svi = self.svi
        self.epoch = svi.epoch
        line: dict[str, Any] = {
            "epoch": self.epoch,
            "step": step,
            "loss": self.total.item() / self.count,
            "loss_is_bound": svi.is_bound,
        }
        if self.writes:
            line |= self._held_out()
        line |= {"lr": svi.lr, "beta": svi.beta, "seconds": round(self.seconds, 3)}
        if self.writes and (latents := _collapsed(svi)):
            line["collapsed"] = latents
        self.history.append(line)
        self.total.zero_()
        self.count = 0
        if self.writes:
            write_history(self.folder, self.history)
        if self.listener:
            self.listener.epoch(line)
        self.save()

    def _held_out(self) -> dict[str, dict[str, float]]:
        if self.svi.plan.is_per_data_point:  # a latent of a data point outside the training data has no guide
            return {}
        return {
            name: monitor_elbo(self.svi.pair, split.x, split.given) | monitor_clustering(self.svi.pair, split)
            for name, split in self.splits.items()
            if name != "train"
        }


def _collapsed(svi: SVI) -> list[str]:
    """Return the latents whose posterior has collapsed on the first training data, once the KL has its full weight."""
    if not svi.beta or svi.beta < svi.settings.beta or svi.plan.is_per_data_point:
        return []
    few = Batch(svi.x, svi.given)[:MONITOR_ROWS]
    return collapsed(svi.pair, svi.transform(few.x), few.given)
