"""How a fit is followed: a progress bar on a terminal, a plain line for every epoch elsewhere; and in TensorBoard."""

import time
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from inference import SVI, Settings, eval_mode
from inference.evaluation.metrics import COLLAPSE_NATS, kl_per_latent
from inference.pairs.info import inspect_pair
from inference.pairs.run import Batch

KL_ROWS = 1000
MODES = {"eager": "run by Pyro", "graph": "traced once", "compiled": "traced once and compiled"}


def describe_line(line: dict) -> str:
    """One line of history.jsonl in words, nats per data point."""
    parts = [f"epoch {line['epoch']}", f"loss {line['loss']:.3f}"]
    if not line["loss_is_bound"]:
        reason = "of a relaxed model" if line["beta"] == 1.0 else f"beta {line['beta']:.2g}"
        parts[-1] += f" ({reason}: not a bound)"
    for split in ("validation", "test"):
        parts += [f"{split} {name} {value:.3f}" for name, value in line.get(split, {}).items()]
    return ", ".join(part.replace("elbo", "ELBO") for part in parts) + f", {line['seconds']:.1f} s"


class Collapse:
    """Tells of every latent once that it has collapsed onto its prior, and what of these settings may help."""

    def __init__(self, settings: Settings):
        self.told: set[str] = set()
        self.remedies = ["a weaker decoder"]
        if settings.objective in ("trace", "analytic"):
            self.remedies.insert(0, "--objective free-bits:0.1")
        if not settings.warmup:
            self.remedies.insert(0, "--warmup EPOCHS")

    def __call__(self, line: dict) -> str | None:
        new = set(line.get("collapsed", ())) - self.told
        if not new:
            return None
        self.told |= new
        return (
            f"{', '.join(sorted(new))} says nothing of x after epoch {line['epoch']}, every coordinate has less than "
            f"{COLLAPSE_NATS} nats of KL: posterior collapse, if it stays so. Try {' or '.join(self.remedies)}."
        )


class Plain:
    """A line an epoch, at most about a hundred in all; for files, pipes and logs."""

    def begin(self, svi: SVI, run) -> None:
        self.collapse = Collapse(run.settings)
        self.every, self.last = max(1, run.settings.epochs // 100), run.settings.epochs
        where = f"{svi.steps} steps on {svi.x.device}, {MODES[svi.mode]}"
        print(f"fitting {run.model} to {len(svi.x)} rows of {run.data}: {where}", flush=True)

    def step(self, step: int, loss: Tensor) -> None:
        pass

    def epoch(self, line: dict) -> None:
        if line["epoch"] % self.every == 0 or line["epoch"] == self.last:
            print(describe_line(line), flush=True)
        if warning := self.collapse(line):
            print(warning, flush=True)

    def close(self) -> None:
        pass


class Bar:
    """ELBO, steps per second and time left, in one line of the terminal that stays where it is."""

    def __init__(self, console: Console):
        columns = [TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[words]}")]
        self.progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)
        self.elbo = ""

    def begin(self, svi: SVI, run) -> None:
        self.collapse = Collapse(run.settings)
        self.task = self.progress.add_task(run.model, total=svi.steps, completed=svi.step, words="")
        self.progress.start()
        self.seen, self.at = svi.step, time.perf_counter()

    def step(self, step: int, loss: Tensor) -> None:
        now = time.perf_counter()
        if now - self.at > 0.5:
            words = f"loss {loss.item():.2f}{self.elbo}, {(step - self.seen) / (now - self.at):.0f} steps/s"
            self.progress.update(self.task, completed=step, words=words)
            self.seen, self.at = step, now

    def epoch(self, line: dict) -> None:
        for split in ("validation", "test"):
            if "elbo" in line.get(split, {}):
                self.elbo = f", {split} ELBO {line[split]['elbo']:.2f}"
                break
        self.progress.update(self.task, completed=line["step"])
        if warning := self.collapse(line):
            self.progress.console.print(warning, highlight=False)

    def close(self) -> None:
        self.progress.stop()


class TensorBoard:
    """What another watcher shows, and scalars of every epoch for TensorBoard: nats per data point, by step.

    Loss, learning rate, and the bounds of every split as in history.jsonl; KL(guide || prior) of every local continuous
    latent on the first KL_ROWS rows of the training data, where the guide is a density.
    """

    def __init__(self, shown: Plain | Bar, folder: Path):
        self.shown, self.folder, self.writer = shown, folder, None

    def begin(self, svi: SVI, run) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.svi, self.writer = svi, SummaryWriter(self.folder, purge_step=svi.step + 1)
        self.shown.begin(svi, run)

    def step(self, step: int, loss: Tensor) -> None:
        self.shown.step(step, loss)

    def epoch(self, line: dict) -> None:
        scalars = {"loss": line["loss"], "lr": line["lr"]}
        for split in ("validation", "test"):
            scalars |= {f"{name}/{split}": value for name, value in line.get(split, {}).items()}
        scalars |= {f"kl/{name}": value for name, value in self.kl().items()}
        for name, value in scalars.items():
            self.writer.add_scalar(name, value, line["step"])
        self.writer.flush()
        self.shown.epoch(line)

    def kl(self) -> dict[str, float]:
        svi = self.svi
        with eval_mode(svi.pair):
            few = Batch(svi.x, svi.given)[:KL_ROWS]
            few = Batch(svi.transform(few.x), few.given)
            if inspect_pair(svi.pair, few.args(svi.pair)).delta_sites:
                return {}
        found = kl_per_latent(svi.pair, few.x, few.given)
        return {name: torch.tensor(values).sum().item() for name, values in found.items()}

    def close(self) -> None:
        if self.writer:
            self.writer.close()
        self.shown.close()


def watcher(logs: Path | None = None) -> Plain | Bar | TensorBoard:
    """A bar where standard error is a terminal, else plain lines; with a folder for TensorBoard, that as well."""
    console = Console(stderr=True)
    shown = Bar(console) if console.is_terminal else Plain()
    return TensorBoard(shown, logs) if logs else shown
