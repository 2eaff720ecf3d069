"""Pages of the user's runs: one for every folder below DIR with a run.json and a metrics.json."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import data
from gallery.errors import RunError
from gallery.ledger.fields import PATHS
from gallery.models import MODELS
from gallery.report.site.numbers import MEANINGS, Number, kl_bars, written
from gallery.report.site.pictures import has_classes
from gallery.runs.parse import parse_metrics
from gallery.runs.specification import Run

__all__ = ["RunPage", "runs_below", "without_folders"]


@dataclass(frozen=True)
class RunPage:
    """A finished run and its page.

    :param name: the path of its folder relative to DIR
    :param page: the file name of its page
    :param metrics: the content of metrics.json
    """

    folder: Path
    name: str
    page: str
    run: Run
    metrics: dict[str, Any] = field(repr=False)

    @property
    def family(self) -> str:
        """The file of gallery/models that its model is in, or the name of a user's model."""
        return self.run.model.partition(":")[0] if self.run.model in MODELS else self.run.model

    @property
    def model(self) -> str:
        """The name of the model, without the folders of a user's file."""
        return without_folders(self.run.model)

    @property
    def data(self) -> str:
        """The name of the data, without the folders of a user's file."""
        return without_folders(self.run.data)

    @property
    def is_drawn(self) -> bool:
        """Whether its pictures are ink on paper: those of data of the user may have colour images."""
        return self.run.data.partition(":")[0] in {known.name for known in data.describe()}

    @property
    def has_classes(self) -> bool:
        """Whether its data have classes."""
        return self.run.labels is not None or has_classes(self.run.data)

    def numbers(self) -> list[Number]:
        """Return its numbers on test data, those of `MEANINGS` first."""
        names = {path.removeprefix("test "): name for name, path in PATHS.items() if path.startswith("test ")}
        order = list(MEANINGS)
        lines = [
            Number(names.get(key, key.replace("_", " ")), written(entry["value"]), "", "", entry, 1)
            for key, entry in self.metrics["test"].items()
            if isinstance(entry, dict) and isinstance(entry.get("value"), float)
        ]
        return sorted(lines, key=lambda line: order.index(line.name) if line.meaning else len(order))

    def undefined(self) -> dict[str, list[str]]:
        """Return the reasons why numbers are undefined, each with the names of these numbers."""
        reasons: dict[str, list[str]] = {}
        for name, reason in self.metrics["test"].get("undefined", {}).items():
            reasons.setdefault(reason, []).append(name)
        return reasons


def without_folders(name: str) -> str:
    """Return `file.py:CLASS` or `images:grey` without its folders. Other names are unchanged."""
    return Path(name.replace("/:", ":")).name


def runs_below(folder: Path, trust: bool = False) -> tuple[list[RunPage], list[str]]:
    """Return the finished runs below a folder, and one line for each that cannot be read.

    :param trust: accept models in files that this user has not fitted
    :raises RunError: if there is no such folder
    """
    if not folder.is_dir():
        raise RunError(f"{folder} is no folder. Choose a folder that contains runs.")
    pages: list[RunPage] = []
    skipped: list[str] = []
    for path in sorted(folder.rglob("run.json")):
        name = path.parent.relative_to(folder).as_posix() if path.parent != folder else folder.resolve().name
        if not (path.parent / "metrics.json").is_file():
            skipped.append(f"{path.parent} is skipped: it is unfinished. `gallery resume {path.parent}` continues it.")
            continue
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60]
        try:
            run, _ = Run.from_json(path, trust)
            metrics = parse_metrics(path.parent / "metrics.json")
            one = RunPage(path.parent, name, f"run-{len(pages) + 1}-{slug}.html", run, metrics)
            for line in one.numbers():  # fails here if a number cannot be written
                str((line.n, line.unit, line.error("se"), line.error("mc_se")))
            one.undefined(), kl_bars(metrics)
            pages.append(one)
        except RunError as error:
            skipped.append(f"{path.parent} is skipped: {error}")
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            skipped.append(f"{path.parent} is skipped: {' '.join(str(error).split())[:120]}")
    return pages, skipped
