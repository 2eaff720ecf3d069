"""How a fit is followed: a progress bar on a terminal, a plain line for every epoch elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from inference import SVI

MODES = {"eager": "run by Pyro", "graph": "traced once", "compiled": "traced once and compiled"}


def describe_line(line: dict) -> str:
    """One line of history.jsonl in words, nats per datum."""
    parts = [f"epoch {line['epoch']}", f"loss {line['loss']:.3f}"]
    if not line["loss_is_bound"]:
        reason = "of a relaxed model" if line["beta"] == 1.0 else f"beta {line['beta']:.2g}"
        parts[-1] += f" ({reason}: not a bound)"
    for split in ("validation", "test"):
        parts += [f"{split} {name} {value:.3f}" for name, value in line.get(split, {}).items()]
    return ", ".join(part.replace("elbo", "ELBO") for part in parts) + f", {line['seconds']:.1f} s"


class Plain:
    """A line an epoch, at most about a hundred in all; for files, pipes and logs."""

    def begin(self, svi: SVI, run) -> None:
        self.every, self.last = max(1, run.settings.epochs // 100), run.settings.epochs
        where = f"{svi.steps} steps on {svi.x.device}, {MODES[svi.mode]}"
        print(f"fitting {run.model} to {len(svi.x)} rows of {run.data}: {where}", flush=True)

    def step(self, step: int, loss: Tensor) -> None:
        pass

    def epoch(self, line: dict) -> None:
        if line["epoch"] % self.every == 0 or line["epoch"] == self.last:
            print(describe_line(line), flush=True)

    def close(self) -> None:
        pass


class Bar:
    """ELBO, steps per second and time left, in one line of the terminal that stays where it is."""

    def __init__(self, console: Console):
        columns = [TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[words]}")]
        self.progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)
        self.elbo = ""

    def begin(self, svi: SVI, run) -> None:
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

    def close(self) -> None:
        self.progress.stop()


def watcher() -> Plain | Bar:
    """A bar where standard error is a terminal, else plain lines."""
    console = Console(stderr=True)
    return Bar(console) if console.is_terminal else Plain()
