"""Recipes run again, seed by seed, into a ledger: what is published and what was measured, on which machine, how long.
Some pictures of the first seed are kept beside it.

    ledger = reproduce(["vae"], seeds=range(5), out=Path("reproduced"), ledger=Path("ledger.json"))

Every run is a folder of its own, `out/RECIPE/seed-S`, and goes on where it was interrupted; the ledger has a row for
every recipe, grows run by run, and may be written by several processes at a time.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import filelock

import data
from gallery.catalogue.recipes import RECIPES, Recipe
from gallery.errors import RunError
from gallery.ledger.experiments import EXPERIMENTS
from gallery.ledger.extra_metrics import EXTRA_METRICS, ledger_metrics
from gallery.runs import training as runs
from gallery.runs.progress import PlainProgress
from gallery.runs.specification import Run, run_of
from gallery.runs.system import processor
from inference import InferenceError
from inference.files import write_atomically

OF_TRAINING = ("elbo", "reconstruction", "evidence")
PICTURES = ("learning_curve", "components", "samples", "activations", "denoised", "completion", "animation")


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


def _add(ledger: Path, name: str, row: dict) -> int | None:
    """Puts a row into the ledger; runs with other seeds that it had stay. Returns the least of their seeds."""
    with filelock.FileLock(ledger.with_name(f".{ledger.name}.lock")):
        rows = read(ledger)
        runs = rows.get(name, row)["runs"] | row["runs"]
        rows[name] = row | {"runs": dict(sorted(runs.items(), key=lambda item: int(item[0])))}
        rows = {name: rows[name] for name in (*RECIPES, *rows) if name in rows}  # also those of another version
        write_atomically(ledger, (json.dumps(rows, indent=1) + "\n").encode())
    return min(map(int, runs), default=None)


def _fit(run: Run, folder: Path) -> None:
    """Fits what is left of the run in its folder."""
    if (folder / "metrics.json").exists():
        return
    if (folder / "run.json").exists():
        runs.resume(folder, PlainProgress())
    else:
        runs.start(run, folder, listener=PlainProgress())


def _judged(folder: Path) -> dict:
    run, pair = runs.load(folder)
    splits, base = run.datasets(), run.data.partition(":")[0]
    grey = {name: data.load(f"{base}:grey", name) for name in ("train", "test")} if splits["test"].is_image else None
    return ledger_metrics(pair, splits["train"], splits["test"], grey)


def _judged_by(names: Iterable[str], folder: Path) -> None:
    """Adds to the metrics.json of a finished run what those of JUDGES say that are not heard in it yet."""
    metrics = json.loads((folder / "metrics.json").read_text())
    left = [name for name in names if name not in metrics.get(EXTRA_METRICS[name][0], {})]
    if left:
        run, pair = runs.load(folder)
        test = run.datasets()["test"]
        for where, evaluate_split in map(EXTRA_METRICS.get, left):
            metrics[where] = metrics.get(where, {}) | evaluate_split(pair, test)
        write_atomically(folder / "metrics.json", (json.dumps(metrics, indent=2) + "\n").encode())


def entry(folder: Path) -> dict:
    """What the ledger holds of a finished run: its numbers on test data and on simulated ones, if there are any, its
    curve, and how it came about."""
    content = json.loads((folder / "run.json").read_text())
    metrics = json.loads((folder / "metrics.json").read_text())
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    names = list(dict.fromkeys(name for line in history for name in line.get("test", {})))
    curve = {name: [round(line["test"][name], 4) for line in history if name in line.get("test", {})] for name in names}
    return {
        **{name: metrics[name] for name in ("test", "simulated") if name in metrics},
        "train": {name: metrics["train"][name] for name in OF_TRAINING if name in metrics["train"]},
        "curve": curve,
        **{name: metrics[name] for name in ("seconds", "steps_per_second", "steps", "device", "data", "data_hash")},
        "processor": metrics.get("processor") or processor(),
        **{name: content[name] for name in ("keywords", "settings", "validation", "threads", "versions")},
    }


def _row(recipe: Recipe, command: str) -> dict:
    about = {name: asdict(recipe)[name] for name in ("model", "data", "source", "published")}
    return about | {"command": command, "runs": {}}


def _same(one: Run, other: Run) -> bool:
    """Are they one run, but for the number of threads, after JSON has made lists of tuples?"""
    return all(
        json.dumps(value) == json.dumps(asdict(other)[name]) for name, value in asdict(one).items() if name != "threads"
    )


def measured(recipe: Recipe, seed: int, folder: Path, quick: bool = False) -> dict:
    """The entry of the ledger for one run of a recipe, after fitting and judging what is not fitted and judged yet.

    :raises RunError: if the folder holds another run than the recipe's
    :raises InferenceError: if the pair cannot be fitted
    """
    run = run_of(recipe, seed, quick)
    if (folder / "run.json").exists() and not _same(Run.from_json(folder / "run.json")[0], run):
        raise RunError(f"{folder} holds another run than recipe {recipe.name} says: remove it, or choose --out.")
    _fit(run, folder)
    _judged_by(recipe.extra_metrics, folder)
    if not (folder / "judged.json").exists():
        write_atomically(folder / "judged.json", (json.dumps(_judged(folder), indent=2) + "\n").encode())
    return entry(folder) | json.loads((folder / "judged.json").read_text())


def _keep_pictures(run: Path, folder: Path) -> None:
    """Copies those of PICTURES that a run has."""
    for picture in (run / "figures").glob("*"):
        if picture.stem in PICTURES:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, folder)


def reproduce(
    names: Iterable[str],
    seeds: Iterable[int],
    out: Path,
    ledger: Path,
    quick: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, dict]:
    """Runs recipes; returns the ledger. A pair that is refused before it begins has the reason in its row.

    :raises RunError: if a folder holds another run than the recipe's, or `ledger` is not one
    """
    out.mkdir(parents=True, exist_ok=True)
    ledger.parent.mkdir(parents=True, exist_ok=True)
    for recipe in map(RECIPES.get, names):
        of_recipe = out / recipe.name.replace(":", "-")
        row = _row(recipe, f"gallery reproduce {recipe.name}{' --quick' if quick else ''}")
        for seed in seeds:
            folder = of_recipe / f"seed-{seed}"
            say(f"{recipe.name}, seed {seed}: {folder}")
            try:
                row["runs"] = {str(seed): measured(recipe, seed, folder, quick)}
            except (RunError, InferenceError) as error:
                if folder.exists():
                    raise
                say(f"refused: {error}")
                row["refused"] = str(error)
            if seed == _add(ledger, recipe.name, row):
                _keep_pictures(folder, ledger.parent / "pictures" / of_recipe.name)
            if "refused" in row:
                break
        experiments = ledger.parent / "experiments" / recipe.model
        if recipe.name in EXPERIMENTS and not quick and not experiments.is_dir():
            say(f"{recipe.name}: the published experiments")
            experiments.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory() as folder:  # it is there when it is whole
                EXPERIMENTS[recipe.name](Path(folder), of_recipe / f"seed-{min(seeds)}")
                shutil.copytree(folder, experiments)
    return read(ledger)
