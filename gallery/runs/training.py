"""The training of a run: start, resume, load."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import data
from gallery.errors import RunError
from gallery.runs.divergence import check_end, naming
from gallery.runs.finish import finish
from gallery.runs.folder import (
    CHECKPOINT,
    HISTORY,
    METRICS,
    SPECIFICATION,
    check_free,
    clean,
    clear,
    history_hash,
    locked,
    read_history,
    read_tensors,
    read_weights,
    undone_if_failed,
    write_history,
)
from gallery.runs.interrupt import deferred_interrupt
from gallery.runs.monitoring import collapsed_latents, held_out, is_evaluated
from gallery.runs.parse import Position, parse
from gallery.runs.prepare import naming_file, noise_of, prepare, print_summary
from gallery.runs.progress import ProgressListener
from gallery.runs.specification import Run
from gallery.runs.system import keep_freed_memory
from gallery.runs.trust import note_fitted
from inference import SVI, Pair
from inference.files import make_folder, write_atomically
from inference.fit import distributed
from inference.fit.checkpoint import save_tensors
from inference.fit.guard import DivergenceError
from inference.products import is_exact, using_products

__all__ = ["Training", "load", "resume", "start"]

SYNC_EVERY = 20  # steps between two exchanges of several processes about whether to stop
CHECKPOINT_SECONDS = 60.0  # between checkpoints within an epoch
EPOCH_SECONDS = 1.0  # between those after epochs that are not evaluated; there is one after each that is


def start(run: Run, folder: Path, overwrite: bool = False, listener: ProgressListener | None = None) -> dict[str, Any]:
    """Fit a run into a new folder; return its metrics.

    Everything that can be refused is refused before the folder exists, and a fit that fails before its first checkpoint
    after step 0 leaves no run. Of several processes, number 0 writes; the others return an empty dict.

    :param overwrite: replace a run that the folder holds
    :raises RunError: if the folder holds a run (unless `overwrite`) or other files, or if model, data and settings do
        not go together
    :raises InferenceError: if the loss is not finite
    """
    folder = Path(folder)
    if distributed.rank():
        splits = run.datasets()
        training = Training(run, prepare(run, splits), splits, folder, None)
        with noise_of(run):
            return training.run_to_end()
    check_free(folder, overwrite)
    splits = run.datasets()
    svi = prepare(run, splits)
    print_summary(run, splits, listener)
    make_folder(folder)
    with locked(folder):
        check_free(folder, overwrite)  # another fit may have begun or ended here since
        clear(folder)
        training = Training(run, svi, splits, folder, listener)
        with undone_if_failed(folder, lambda: not training.saved), noise_of(run):
            note_fitted(run.model)
            write_atomically(folder / SPECIFICATION, run.to_json(splits["train"]).encode())
            return training.run_to_end()


def resume(folder: Path, listener: ProgressListener | None = None, trust: bool = False) -> dict[str, Any]:
    """Continue a run from its checkpoint, to the bits of an uninterrupted run; return its metrics.

    :param trust: accept a model in a file that this user has not fitted
    :raises RunError: if there is no run, it is finished, its data have changed, or another process writes it
    :raises InferenceError: if the checkpoint is damaged
    """
    folder = Path(folder)
    run, data_hash = Run.from_json(folder / SPECIFICATION, trust)
    with locked(folder) if distributed.rank() == 0 else nullcontext():
        if (folder / METRICS).exists():
            raise RunError(f"{folder} is finished: nothing to resume. `gallery evaluate {folder}` evaluates it.")
        with naming_file(folder):
            splits = run.datasets()
        if splits["train"].hash != data_hash:
            raise RunError(
                f"{run.data} is not the data that {folder} was started with: its hash differs.", "Restore the data."
            )
        if distributed.rank() == 0:
            clean(folder)
        run.set_threads()
        with naming_file(folder):
            svi = prepare(run, splits)
        print_summary(run, splits, listener)
        training = Training(run, svi, splits, folder, listener)
        with noise_of(run):
            if (folder / CHECKPOINT).exists():
                training.restore(*read_tensors(folder / CHECKPOINT, run.identity(data_hash)))
            return training.run_to_end()


def load(folder: Path, trust: bool = False) -> tuple[Run, Pair]:
    """Return (run, fitted pair) of a folder: the final weights, or those of the checkpoint of an unfinished run.

    :param trust: accept a model in a file that this user has not fitted
    :raises RunError: if the folder holds no run, or its weights do not fit the model
    :raises InferenceError: if there are no weights yet
    """
    folder = Path(folder)
    run, data_hash = Run.from_json(folder / SPECIFICATION, trust)
    with naming_file(folder):
        pair = run.build()
    weights = read_weights(folder, run.identity(data_hash))
    try:
        pair.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(
            f"the weights in {folder} do not fit {run.model}, whose class may have changed since the fit. Restore the "
            "class, or fit it anew."
        ) from error
    return run, pair


class Training:
    """The training loop of a run: steps, a line of history for every epoch, checkpoints.

    :param folder: for checkpoints, history and the finished run; None keeps them in memory
    """

    def __init__(
        self,
        run: Run,
        svi: SVI,
        splits: dict[str, data.Dataset],
        folder: Path | None,
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
        self.first_loss: float | Tensor | None = None
        self.saved: int | None = None  # the step of the last checkpoint
        self.saved_at = -math.inf  # its time
        self.identity = run.identity(splits["train"].hash)

    @property
    def kept(self) -> str:
        """A sentence on the last good checkpoint."""
        if self.folder is None:
            return ""
        return f"The checkpoint of step {self.saved} is kept." if self.saved else "There is no checkpoint."

    def restore(self, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
        """Continue from the content of a checkpoint.

        :raises RunError: if the checkpoint or the history does not fit the run; nothing is changed then
        """
        assert self.folder is not None
        path = self.folder / CHECKPOINT
        position = parse(Position, about, f"{path}: ", others=True)
        if not (0 <= position.step <= self.svi.steps and position.count >= 0 and position.seconds >= 0):
            raise RunError(f"{path}: step {position.step} is none of the {self.svi.steps} of this run.")
        try:
            self.total = tensors["epoch.loss"].to(self.total)
            self.svi.set_state(tensors, {"step": position.step})
        except (RuntimeError, KeyError, ValueError, TypeError, IndexError) as error:
            reason = " ".join(str(error).split())[:120]
            raise RunError(f"{path} does not fit {self.run.model} ({reason}). Its class may have changed.") from error
        self.count, self.seconds, self.first_loss = position.count, position.seconds, position.first_loss
        self.saved = position.step
        recorded = position.products or "default"  # before the setting there were torch's products alone
        self.svi.products = recorded if recorded == "default" or is_exact() else "default"
        self.history = read_history(self.folder, self.svi.epoch)
        expected = history_hash(self.history) if position.history is None else position.history
        if len(self.history) != self.svi.epoch or history_hash(self.history) != expected:
            raise RunError(f"{self.folder / HISTORY} is not the history of {path}; nothing was changed.")
        self.restored = True

    def save(self) -> None:
        """Write history and checkpoint.

        :raises InferenceError: if a weight is not finite; the previous checkpoint is kept
        """
        svi = self.svi
        state, position = svi.state()
        broken = [name for name, value in state.items() if name.startswith("weights.") and not value.isfinite().all()]
        if broken:
            name = broken[0].removeprefix("weights.")
            raise DivergenceError(f"{name} is not finite after step {self.svi.step}.", "Use a smaller lr.")
        if self.writes and self.folder is not None:
            if self.history:
                write_history(self.folder, self.history)
            first = None if self.first_loss is None else float(self.first_loss)
            about = Position(
                position["step"], self.count, self.seconds, history_hash(self.history), first, svi.products
            )
            tensors = state | {"epoch.loss": self.total}
            save_tensors(self.folder / CHECKPOINT, tensors, asdict(about) | {"run": self.identity})
        self.saved, self.saved_at = self.svi.step, time.perf_counter()

    def run_to_end(self) -> dict[str, Any]:
        """Train to the last step and finish the run; return the metrics.

        :raises KeyboardInterrupt: after SIGINT or SIGTERM, once the checkpoint is written
        """
        keep_freed_memory()
        svi = self.svi
        self.epoch = svi.epoch
        if not self.restored:
            self.save()
        if self.listener:
            self.listener.begin(svi, self.run)
        with using_products(svi.products):
            with deferred_interrupt() as interrupted, naming(self):
                self._train(interrupted)
            if not self.writes:
                return {}
            check_end(self.first_loss, self.history[-1]["loss"], svi.steps, self.kept)
            if self.folder is None:
                return {}
            return finish(self.run, svi, self.splits, self.folder, self.history, self.seconds)

    def _train(self, interrupted: Callable[[], bool]) -> None:
        """Run the remaining steps.

        :param interrupted: returns whether a signal has arrived
        :raises KeyboardInterrupt: once one has, after the checkpoint is written
        """
        svi, clock = self.svi, time.perf_counter()
        svi.pair.train()
        while svi.step < svi.steps:
            losses = svi.train_steps(svi.steps_left_of_epoch)
            self.first_loss = losses[0] if svi.step == len(losses) else self.first_loss
            self.total = sum(losses.unbind(), self.total)
            self.count += len(losses)
            if self.listener:
                self.listener.step(svi.step, losses)
            if svi.epoch > self.epoch:
                self.seconds += time.perf_counter() - clock
                self._end_epoch(svi.step)
                clock = time.perf_counter()
            if distributed.workers() > 1 and svi.step % SYNC_EVERY:
                continue
            now = time.perf_counter()
            late = distributed.any_worker(now - self.saved_at > CHECKPOINT_SECONDS)
            stop = distributed.any_worker(interrupted())
            if late or stop:
                self.seconds += now - clock
                self.save()
                clock = time.perf_counter()
            if stop:
                raise KeyboardInterrupt

    def _end_epoch(self, step: int) -> None:
        svi = self.svi
        self.epoch = svi.epoch
        line: dict[str, Any] = {
            "epoch": self.epoch,
            "step": step,
            "loss": self.total.item() / self.count,
            "loss_is_bound": svi.is_bound,
        }
        evaluated = is_evaluated(self.epoch, svi.settings.epochs, svi.steps // svi.settings.epochs)
        if self.writes and evaluated:
            line |= held_out(svi, self.splits)
        line |= {"lr": svi.lr, "beta": svi.beta, "seconds": round(self.seconds, 3)}
        if self.writes:
            line |= collapsed_latents(svi, evaluated)
            if not (evaluated or svi.plan.is_per_data_point):
                line["evaluated"] = False
        self.history.append(line)
        self.total = torch.zeros_like(self.total)
        self.count = 0
        if self.listener:
            self.listener.epoch(line)
        late = distributed.any_worker(time.perf_counter() - self.saved_at > EPOCH_SECONDS)
        if evaluated or late:
            self.save()
        else:
            svi.runner.check()
