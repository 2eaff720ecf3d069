"""Progress of a fit: a bar on a terminal, about twelve lines elsewhere; scalars for TensorBoard."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from gallery.runs.table import file_name
from inference import SVI, Settings, eval_mode
from inference.evaluation.metrics import COLLAPSE_NATS, kl_per_latent
from inference.pairs.info import inspect_pair
from inference.pairs.run import Batch
from inference.products import has_bfloat16

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from gallery.runs.specification import Run

__all__ = [
    "PlainProgress",
    "ProgressBar",
    "ProgressListener",
    "TensorBoardProgress",
    "describe_line",
    "progress_listener",
]

LINES = 12  # of a fit in a log
KL_ROWS = 1000  # training data points on which TensorBoard's KL is computed
MODES = {"pyro": "run by Pyro", "graph": "traced once", "compiled": "traced once and compiled, up to a minute at first"}


class ProgressListener(Protocol):
    """A receiver of the progress of a fit."""

    def begin(self, svi: SVI, run: "Run") -> None:
        """Receive the fit before its first step."""

    def step(self, step: int, losses: Tensor) -> None:
        """Receive the losses of the last steps up to `step`, (k,), nats per data point."""

    def epoch(self, line: dict[str, Any]) -> None:
        """Receive a line of history.jsonl after an epoch."""

    def close(self) -> None:
        """Release the terminal or file."""


def describe_line(line: dict[str, Any], width: int = 0) -> str:
    """Format a line of history.jsonl for reading, in nats per data point.

    :param width: of the number of the epoch
    """
    parts = [f"epoch {line['epoch']:{width}}", f"loss {line['loss']:.3f}"]
    beta = line["beta"]
    if not line["loss_is_bound"]:
        reason = "of a relaxed model" if beta == 1.0 else f"beta {beta:.2g}"
        parts[-1] += f" ({reason}: not a bound)"
    elif beta > 1.0:
        parts[-1] += f" (beta {beta:.2g}: a looser bound)"
    for split in ("validation", "test"):
        parts += [f"{split} {name} {value:.3f}" for name, value in line.get(split, {}).items()]
    if "weight_error" in line:
        parts.append(f"weights within {line['weight_error']:.2g}")
    return ", ".join(part.replace("elbo", "ELBO") for part in parts) + f", {line['seconds']:.1f} s"


class CollapseWarning:
    """A warning of posterior collapse, once for every latent, with the settings that may prevent it."""

    def __init__(self, settings: Settings):
        self.reported: set[str] = set()
        self.remedies = ["a weaker decoder"]
        if settings.objective in ("trace", "analytic"):
            self.remedies.insert(0, 'objective="free-bits:0.1"')
        if not settings.warmup:
            self.remedies.insert(0, "warmup=EPOCHS")

    def __call__(self, line: dict[str, Any]) -> str | None:
        """Return the warning for latents that have collapsed since the last line; None where there are none."""
        new = set(line.get("collapsed", ())) - self.reported
        if not new:
            return None
        self.reported |= new
        return (
            f"{', '.join(sorted(new))} carries no information about x after epoch {line['epoch']}: every coordinate "
            f"has a KL below {COLLAPSE_NATS} nats. If this persists, it is posterior collapse. Try "
            f"{' or '.join(self.remedies)}."
        )


class PlainProgress:
    """About LINES lines in all, each of an epoch with held-out metrics; for files, pipes and logs."""

    def begin(self, svi: SVI, run: "Run") -> None:
        self.collapse = CollapseWarning(run.settings)
        self.svi, self.every, self.last = svi, run.settings.epochs / LINES, run.settings.epochs
        self.next = 1.0
        where = f"{svi.steps} steps on {svi.x.device}, {MODES[svi.mode]}"
        if svi.settings.precision == "bfloat16" and not has_bfloat16(svi.x.device):
            where += ", in float32 (this processor has no products in bfloat16)"
        print(f"fitting {run.model} to {len(svi.x)} rows of {file_name(run.data)}: {where}", flush=True)

    def step(self, step: int, losses: Tensor) -> None:
        pass

    def epoch(self, line: dict[str, Any]) -> None:
        if (line["epoch"] >= self.next and line.get("evaluated", True)) or line["step"] == self.svi.steps:
            print(describe_line(line, len(str(self.last))), flush=True)
            self.next = line["epoch"] + self.every
        if warning := self.collapse(line):
            print(warning, flush=True)

    def close(self) -> None:
        pass


class ProgressBar:
    """Loss, held-out ELBO, steps per second and time left in one fixed line of a terminal."""

    def __init__(self, console: Console):
        columns = [TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[status]}")]
        self.progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)
        self.elbo = ""

    def begin(self, svi: SVI, run: "Run") -> None:
        self.collapse = CollapseWarning(run.settings)
        self.task = self.progress.add_task(run.model, total=svi.steps, completed=svi.step, status="")
        self.progress.start()
        self.shown_step, self.shown_at = svi.step, time.perf_counter()

    def step(self, step: int, losses: Tensor) -> None:
        now = time.perf_counter()
        if now - self.shown_at > 0.5:
            speed = (step - self.shown_step) / (now - self.shown_at)
            status = f"loss {losses[-1].item():.2f}{self.elbo}, {speed:.0f} steps/s"
            self.progress.update(self.task, completed=step, status=status)
            self.shown_step, self.shown_at = step, now

    def epoch(self, line: dict[str, Any]) -> None:
        for split in ("validation", "test"):
            if "elbo" in line.get(split, {}):
                self.elbo = f", {split} ELBO {line[split]['elbo']:.2f}"
                break
        self.progress.update(self.task, completed=line["step"])
        if warning := self.collapse(line):
            self.progress.console.print(warning, highlight=False)

    def close(self) -> None:
        self.progress.stop()


class TensorBoardProgress:
    """Another listener, and scalars of every epoch for TensorBoard: nats per data point, by step.

    Loss, learning rate, and the bounds of every split as in history.jsonl; KL(guide || prior) of every local continuous
    latent on the first KL_ROWS training data points, where the guide is a density.

    :param shown: the listener that shows progress as well
    :param folder: of the event files
    """

    def __init__(self, shown: ProgressListener, folder: Path):
        self.shown, self.folder = shown, folder
        self.writer: SummaryWriter | None = None

    def begin(self, svi: SVI, run: "Run") -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.svi, self.writer = svi, SummaryWriter(self.folder, purge_step=svi.step + 1)
        self.shown.begin(svi, run)

    def step(self, step: int, losses: Tensor) -> None:
        self.shown.step(step, losses)

    def epoch(self, line: dict[str, Any]) -> None:
        scalars = {"loss": line["loss"], "lr": line["lr"]}
        for split in ("validation", "test"):
            scalars |= {f"{name}/{split}": value for name, value in line.get(split, {}).items()}
        scalars |= {f"kl/{name}": value for name, value in self.kl().items()}
        if self.writer is not None:
            for name, value in scalars.items():
                self.writer.add_scalar(name, value, line["step"])
            self.writer.flush()
        self.shown.epoch(line)

    def kl(self) -> dict[str, float]:
        """Return the KL of every local continuous latent; nothing where the guide has a Delta site."""
        svi = self.svi
        with eval_mode(svi.pair):
            few = Batch(svi.x, svi.given)[:KL_ROWS]
            few = Batch(svi.transform(few.x), few.given)
            if inspect_pair(svi.pair, few.args(svi.pair)).delta_sites:
                return {}
        per_latent = kl_per_latent(svi.pair, few.x, few.given)
        return {name: torch.tensor(values).sum().item() for name, values in per_latent.items()}

    def close(self) -> None:
        if self.writer:
            self.writer.close()
        self.shown.close()


def progress_listener(logs: Path | None = None) -> ProgressListener:
    """Return a bar where standard error is a terminal, else plain lines.

    :param logs: folder of event files for TensorBoard, written as well
    """
    console = Console(stderr=True)
    shown: ProgressListener = ProgressBar(console) if console.is_terminal else PlainProgress()
    return TensorBoardProgress(shown, logs) if logs else shown
