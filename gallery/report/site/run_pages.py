"""Runs of the reader's own: every folder below DIR with a run.json and a metrics.json."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from gallery.errors import RunError
from gallery.ledger.fields import PATHS
from gallery.models import MODELS
from gallery.report.site.numbers import MEANINGS, Number, kl_bars, written
from gallery.runs.specification import Run


@dataclass(frozen=True)
class Found:
    """A finished run.

    :param name: of its folder, below DIR
    :param page: file of its page
    :param metrics: content of metrics.json
    """

    folder: Path
    name: str
    page: str
    run: Run
    metrics: dict = field(repr=False)

    @property
    def family(self) -> str:
        """The file of the gallery that its model is in, or what it is called where it is the reader's own."""
        return self.run.model.partition(":")[0] if self.run.model in MODELS else self.run.model

    @property
    def model(self) -> str:
        """As a page names it: of a file of the reader's own not where it is on their disk."""
        return without_folders(self.run.model)

    @property
    def data(self) -> str:
        return without_folders(self.run.data)

    def numbers(self) -> list[Number]:
        """Its numbers on test data, the most telling first."""
        names = {path.removeprefix("test "): name for name, path in PATHS.items() if path.startswith("test ")}
        order = list(MEANINGS)
        lines = [
            Number(names.get(key, key.replace("_", " ")), written(entry["value"]), "", entry, 1)
            for key, entry in self.metrics["test"].items()
            if isinstance(entry, dict) and isinstance(entry.get("value"), float)
        ]
        return sorted(lines, key=lambda line: order.index(line.name) if line.meaning else len(order))

    def undefined(self) -> dict[str, list[str]]:
        """The reasons why numbers are not defined, each with their names."""
        reasons: dict[str, list[str]] = {}
        for name, reason in self.metrics["test"].get("undefined", {}).items():
            reasons.setdefault(reason, []).append(name)
        return reasons


def without_folders(name: str) -> str:
    """`file.py:CLASS` or `images:grey` from a path to it; another name as it is."""
    return Path(name.replace("/:", ":")).name


def runs_below(folder: Path) -> tuple[list[Found], list[str]]:
    """(finished runs, a line for each that cannot be read).

    :raises RunError: if there is no such folder
    """
    if not folder.is_dir():
        raise RunError(f"there is no folder {folder}: --runs needs one with runs below it.")
    found, skipped = [], []
    for path in sorted(folder.rglob("run.json")):
        name = path.parent.relative_to(folder).as_posix() if path.parent != folder else folder.resolve().name
        if not (path.parent / "metrics.json").is_file():
            continue
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60]
        try:
            run, _ = Run.from_json(path)
            metrics = json.loads((path.parent / "metrics.json").read_text())
            one = Found(path.parent, name, f"run-{len(found) + 1}-{slug}.html", run, metrics)
            for line in one.numbers():  # can all be written that will be?
                str((line.n, line.unit, line.error("se"), line.error("mc_se")))
            one.undefined(), kl_bars(metrics)
            found.append(one)
        except (RunError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            skipped.append(f"{path.parent} is left out: {' '.join(str(error).split())[:120]}")
    return found, skipped
