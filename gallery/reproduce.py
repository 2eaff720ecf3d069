"""Recipes run again, seed by seed, into a ledger: what is published and what was measured, on which machine, how long.

    ledger = reproduce(["vae"], seeds=range(5), out=Path("reproduced"), ledger=Path("ledger.json"))

Every run is a folder of its own, `out/RECIPE/seed-S`, and goes on where it was interrupted; the ledger has a row for
every recipe, grows run by run, and may be written by several processes at a time.
"""

import json
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path

import filelock

import data
from inference.checkpoint import write_atomically

from . import runs
from .judges import judge_pair
from .recipes import RECIPES, Recipe
from .spec import Run, RunError
from .watch import Plain

LEDGER = Path(__file__).parent / "ledger" / "ledger.json"
QUICK_EPOCHS = 3


def run_of(recipe: Recipe, seed: int, quick: bool = False) -> Run:
    """The run of a recipe with that seed, which also draws the labels where few are shown.

    :param quick: on the embedded digits instead of larger images, for a few epochs
    """
    name, keywords, settings = recipe.data, {}, recipe.settings | {"seed": seed}
    if name.endswith("-labels") and seed:
        name += f"-{seed}"
    if quick:
        settings["epochs"] = min(recipe.settings["epochs"], QUICK_EPOCHS)
        if name.startswith("mnist:"):
            name = name.replace("mnist:", "digits:")
            keywords = {"steps": 8} if recipe.model.startswith("vrnn") else {}
    return Run.of(recipe.model, recipe, name, keywords, settings)


def processor() -> str:
    """The name of the CPU, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def read(ledger: Path) -> dict[str, dict]:
    """The rows of a ledger by name of the recipe; none where there is no file.

    :raises RunError: if the file is not a ledger
    """
    try:
        return json.loads(ledger.read_text())
    except FileNotFoundError:
        return {}
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise RunError(f"{ledger} cannot be read as a ledger ({str(error)[:80]}); nothing was changed.") from error


def _write(ledger: Path, change: Callable[[dict[str, dict]], None]) -> None:
    with filelock.FileLock(ledger.with_name(f".{ledger.name}.lock")):
        rows = read(ledger)
        change(rows)
        rows = {name: rows[name] for name in sorted(rows)}
        write_atomically(ledger, (json.dumps(rows, indent=1) + "\n").encode())


def _fitted(run: Run, folder: Path) -> dict:
    """Metrics of the run in its folder: those that are there, or after fitting what is left of it."""
    if (folder / "metrics.json").exists():
        return json.loads((folder / "metrics.json").read_text())
    if (folder / "run.json").exists():
        return runs.resume(folder, Plain())
    return runs.start(run, folder, watcher=Plain())


def _judged(folder: Path) -> dict:
    run, pair = runs.load(folder)
    splits, base = run.datasets(), run.data.partition(":")[0]
    grey = {name: data.load(f"{base}:grey", name) for name in ("train", "test")} if splits["test"].is_image else None
    return judge_pair(pair, splits["train"], splits["test"], grey)


def entry(folder: Path) -> dict:
    """What the ledger holds of a finished run: its numbers on test data, its curve, and how it came about."""
    content = json.loads((folder / "run.json").read_text())
    metrics = json.loads((folder / "metrics.json").read_text())
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    names = list(dict.fromkeys(name for line in history for name in line.get("test", {})))
    curve = {name: [round(line["test"][name], 4) for line in history if name in line.get("test", {})] for name in names}
    return {
        "test": metrics["test"],
        "train": {name: metrics["train"][name] for name in ("elbo", "reconstruction") if name in metrics["train"]},
        "curve": curve,
        **{name: metrics[name] for name in ("seconds", "steps_per_second", "steps", "device", "data", "data_hash")},
        "processor": processor(),
        **{name: content[name] for name in ("keywords", "settings", "validation", "threads", "versions")},
    }


def reproduce(
    names: Iterable[str],
    seeds: Iterable[int],
    out: Path,
    ledger: Path,
    quick: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, dict]:
    """Runs recipes; returns the ledger.

    :raises RunError: if a folder holds another run than the recipe's, or `ledger` is not one
    """
    for name in names:
        recipe = RECIPES[name]
        for seed in seeds:
            folder = out / name.replace(":", "-") / f"seed-{seed}"
            run = run_of(recipe, seed, quick)
            if (folder / "run.json").exists():
                held, _ = Run.from_json(folder / "run.json")
                if replace(held, threads=run.threads) != run:
                    raise RunError(f"{folder} holds another run than recipe {name} says: remove it, or choose --out.")
            say(f"{name}, seed {seed}: {folder}")
            _fitted(run, folder)
            if not (folder / "judged.json").exists():
                judged = _judged(folder)
                write_atomically(folder / "judged.json", (json.dumps(judged, indent=2) + "\n").encode())
            measured = entry(folder) | json.loads((folder / "judged.json").read_text())

            def add(rows: dict[str, dict], recipe=recipe, seed=seed, measured=measured) -> None:
                row = rows.setdefault(recipe.name, {"runs": {}})
                row |= {name: asdict(recipe)[name] for name in ("model", "data", "source", "published")}
                row["command"] = f"gallery reproduce {recipe.name}{' --quick' if quick else ''}"
                row["runs"][str(seed)] = measured

            _write(ledger, add)
    return read(ledger)
