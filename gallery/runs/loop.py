"""The training loop of a run: steps, a line of history for every epoch, checkpoints."""

import math
import time
from collections.abc import Callable
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
    history_hash,
    read_history,
    write_history,
)
from gallery.runs.interrupt import deferred_interrupt
from gallery.runs.monitoring import collapsed_latents, held_out, is_evaluated
from gallery.runs.parse import Position, parse
from gallery.runs.progress import ProgressListener
from gallery.runs.specification import Run
from gallery.runs.system import keep_freed_memory
from inference import SVI
from inference.fit import distributed
from inference.fit.checkpoint import save_tensors
from inference.fit.guard import DivergenceError
from inference.products import is_exact, using_products

__all__ = ["Training"]

SYNC_EVERY = 20  # steps between two exchanges of several processes about whether to stop
CHECKPOINT_SECONDS = 60.0  # between checkpoints within an epoch
EPOCH_SECONDS = 1.0  # between those after epochs that are not evaluated; there is one after each that is


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
        self.begin()
        with using_products(self.svi.products):
            with deferred_interrupt() as interrupted, naming(self):
                self._train(interrupted)
            return self.end()

    def begin(self) -> None:
        """Write the first checkpoint, and announce the fit."""
        keep_freed_memory()
        self.epoch = self.svi.epoch
        if not self.restored:
            self.save()
        if self.listener:
            self.listener.begin(self.svi, self.run)
        self.svi.pair.train()

    def end(self) -> dict[str, Any]:
        """Finish the run after its last step; return the metrics.

        :raises InferenceError: if the fit has diverged
        """
        if not self.writes:
            return {}
        check_end(self.first_loss, self.history[-1]["loss"], self.svi.steps, self.kept)
        if self.folder is None:
            return {}
        return finish(self.run, self.svi, self.splits, self.folder, self.history, self.seconds)

    def _train(self, interrupted: Callable[[], bool]) -> None:
        """Run the remaining steps.

        :param interrupted: returns whether a signal has arrived
        :raises KeyboardInterrupt: once one has, after the checkpoint is written
        """
        while self.svi.step < self.svi.steps:
            clock = time.perf_counter()
            losses = self.svi.train_steps(self.svi.steps_left_of_epoch)
            if self.record(losses, time.perf_counter() - clock, interrupted):
                raise KeyboardInterrupt(self.folder)

    def record(self, losses: Tensor, seconds: float, interrupted: Callable[[], bool]) -> bool:
        """Record the last steps; evaluate at the end of an epoch, and write a checkpoint where one is due.

        :param losses: (steps,) in nats per data point
        :param seconds: that the steps took
        :return: whether the fit is to end, after its checkpoint is written
        """
        svi = self.svi
        self.first_loss = losses[0] if svi.step == len(losses) else self.first_loss
        self.total = sum(losses.unbind(), self.total)
        self.count += len(losses)
        self.seconds += seconds
        if self.listener:
            self.listener.step(svi.step, losses)
        if svi.epoch > self.epoch:
            self._end_epoch(svi.step)
        if distributed.workers() > 1 and svi.step % SYNC_EVERY:
            return False
        late = distributed.any_worker(time.perf_counter() - self.saved_at > CHECKPOINT_SECONDS)
        stop = distributed.any_worker(interrupted())
        if late or stop:
            self.save()
        return stop

    def _end_epoch(self, step: int) -> None:
        svi = self.svi
        self.epoch = svi.epoch
        line: dict[str, Any] = {
            "epoch": self.epoch,
            "step": step,
            "loss": self.total.item() / self.count,
            "loss_is_bound": svi.is_bound,
        }
        ends = svi.step == svi.steps
        evaluated = ends or is_evaluated(self.epoch, svi.settings.epochs, svi.steps // svi.settings.epochs)
        if self.writes and evaluated:
            line |= held_out(svi, self.splits)
        if svi.convergence is not None and svi.convergence.rates > 1:
            line["weight_error"] = svi.convergence.error
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
