"""Run recipes, seed by seed, into a ledger of measured numbers beside published ones.

    ledger = reproduce(["vae"], seeds=range(5), out=Path("reproduced"), ledger=Path("ledger.json"))

The ledger also holds hardware, versions and seconds of every run. A run has the folder `out/RECIPE/seed-S` and resumes
after an interruption. The ledger has a row for every recipe and grows run by run; several processes may write it at the
same time. Pictures of the first seed are kept beside it.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import cycle
from math import ceil
from pathlib import Path
from typing import Any

import filelock

import data
from gallery.catalogue.recipe import Recipe
from gallery.catalogue.recipes import RECIPES
from gallery.errors import RunError
from gallery.figures import FIGURES
from gallery.figures.sources import record
from gallery.ledger.experiments import EXPERIMENTS, run_experiments
from gallery.ledger.extra_metrics import EXTRA_METRICS, ledger_metrics
from gallery.ledger.fields import LAST_EPOCHS
from gallery.runs import training
from gallery.runs.folder import read_history, write_metrics
from gallery.runs.parse import has_type, in_lines, parse_metrics, read_json, rounded, wrong
from gallery.runs.progress import PlainProgress
from gallery.runs.several import fit_several
from gallery.runs.specification import Run, run_of
from gallery.runs.system import processor
from inference import InferenceError
from inference.files import is_regular, make_folder, write_atomically, writing

__all__ = ["entry", "measured", "read", "reproduce", "shortened"]

TRAIN_METRICS = ("elbo", "reconstruction", "evidence")
ABOUT = ("data", "data_hash", "processor", "device", "products", "versions")  # of the run of an experiment
KEPT_EPOCHS = 100  # of a curve, about
KEPT = 300_000  # bytes: a larger picture of a run is not kept


def read(ledger: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of a ledger by name of the recipe; empty if the file does not exist.

    :raises RunError: if the file is not a ledger
    """
    try:
        rows = json.loads(ledger.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError, OSError) as error:
        raise RunError(f"{ledger} cannot be read as a ledger ({str(error)[:80]}). It was left unchanged.") from error
    if not has_type(rows, dict[str, dict[str, Any]]) or not all(_is_row(row) for row in rows.values()):
        raise RunError(f"{ledger} cannot be read as a ledger (a row has no runs by seed). It was left unchanged.")
    return rows


def _is_row(row: dict[str, Any]) -> bool:
    runs: Any = row.get("runs")
    return has_type(runs, dict[str, dict[str, Any]]) and all(map(str.isdecimal, runs))


def _add(ledger: Path, name: str, row: dict[str, Any]) -> int | None:
    """Merge a row into the ledger, keeping its runs with other seeds.

    :return: the smallest seed of the row, None if it has no runs
    """
    lock = ledger.with_name(f".{ledger.name}.lock")
    with writing(lock, "lock"), filelock.FileLock(lock):
        rows = read(ledger)
        runs = rows.get(name, row)["runs"] | row["runs"]
        rows[name] = row | {"runs": dict(sorted(runs.items(), key=lambda item: int(item[0])))}
        rows = {name: rows[name] for name in (*RECIPES, *rows) if name in rows}  # rows of unknown recipes are kept
        write_atomically(ledger, (in_lines(rows, 3) + "\n").encode())
    return min(map(int, runs), default=None)


def _fit(run: Run, folder: Path) -> None:
    """Fit the run in its folder: start it, resume it, or do nothing if it is finished."""
    if (folder / "metrics.json").exists():
        return
    if (folder / "run.json").exists():
        training.resume(folder, PlainProgress())
    else:
        training.start(run, folder, listener=PlainProgress())


def _fit_together(
    recipe: Recipe, seeds: Sequence[int], folder: Path, quick: bool, report: Callable[[str], None]
) -> None:
    """Fit in one graph those seeds of a small model that have not begun, where there are several."""
    left = [seed for seed in seeds if not (folder / f"seed-{seed}").exists()]
    if len(left) < 2:
        return
    with suppress(RunError, InferenceError, data.DataError):  # each seed then reports its own
        runs = [run_of(recipe, seed, quick) for seed in left]
        if fit_several(runs, [folder / f"seed-{seed}" for seed in left], PlainProgress()):
            report(f"{recipe.name}, seeds {', '.join(map(str, left))}: in one graph")


def _ledger_metrics(folder: Path) -> dict[str, Any]:
    """Evaluate the metrics of the ledger on a finished run."""
    run, pair = training.load(folder)
    splits, base = run.datasets(), run.data.partition(":")[0]
    by_class = splits["test"].is_image and splits["test"].classes  # static_mnist has neither labels nor grey levels
    grey = {name: data.load(f"{base}:grey", name) for name in ("train", "test")} if by_class else None
    return ledger_metrics(pair, splits["train"], splits["test"], grey, run.settings.seed)


def _add_extra_metrics(names: Iterable[str], folder: Path) -> None:
    """Evaluate the extra metrics that the metrics.json of a finished run lacks, and add them to it.

    :param names: names in `EXTRA_METRICS`
    """
    metrics = parse_metrics(folder / "metrics.json")
    missing = [name for name in names if name not in metrics.get(EXTRA_METRICS[name][0], {})]
    if missing:
        run, pair = training.load(folder)
        test = run.datasets()["test"]
        for split, function in (EXTRA_METRICS[name] for name in missing):
            metrics[split] = metrics.get(split, {}) | function(pair, test, run.settings.seed)
        write_metrics(folder, metrics)


def entry(folder: Path) -> dict[str, Any]:
    """Return the ledger entry of a finished run, without the metrics of `ledger_metrics`.

    :return: metrics on test data, on simulated data where evaluated, and on training data; the curve of the ELBO over
        epochs, None where it was not evaluated; seconds, hardware, data and their hash; keywords, settings,
        versions
    """
    Run.from_json(folder / "run.json")  # refuses a damaged one
    content = read_json(folder / "run.json")
    metrics = parse_metrics(folder / "metrics.json")
    history = read_history(folder)
    elbo = [line.get("test", {}).get("elbo") for line in history]
    known = any(value is not None for value in elbo)
    curve = {"elbo": [None if value is None else round(value, 4) for value in elbo]} if known else {}
    return {
        **{name: metrics[name] for name in ("test", "simulated") if name in metrics},
        "train": {name: metrics["train"][name] for name in TRAIN_METRICS if name in metrics["train"]},
        "curve": curve,
        **{name: metrics[name] for name in ("seconds", "steps_per_second", "steps", "device", "data", "data_hash")},
        "processor": metrics.get("processor") or processor(),
        "products": metrics.get("products", "default"),
        **{name: content[name] for name in ("keywords", "settings", "validation", "threads", "versions")},
    }


def _row(recipe: Recipe, command: str) -> dict[str, Any]:
    about = {name: getattr(recipe, name) for name in ("model", "data", "source", "published", "remeasured")}
    return about | {"command": command, "runs": {}}


def _same(one: Run, other: Run) -> bool:
    """Return whether two runs are equal as JSON, except for their number of threads."""
    return all(
        json.dumps(value) == json.dumps(asdict(other)[name]) for name, value in asdict(one).items() if name != "threads"
    )


def measured(recipe: Recipe, seed: int, folder: Path, quick: bool = False) -> dict[str, Any]:
    """Return the complete ledger entry of one run of a recipe, fitting and evaluating it unless that was done before.

    :param quick: a few epochs on the embedded digits, as `gallery.runs.specification.run_of` defines it
    :raises RunError: if the folder holds a different run
    :raises InferenceError: if the pair cannot be fitted
    """
    run = run_of(recipe, seed, quick)
    if (folder / "run.json").exists() and not _same(Run.from_json(folder / "run.json")[0], run):
        raise RunError(f"{folder} holds another run than recipe {recipe.name}. Remove it or choose another folder.")
    _fit(run, folder)
    _add_extra_metrics(recipe.extra_metrics, folder)
    if not (folder / "judged.json").exists():
        write_atomically(folder / "judged.json", (json.dumps(_ledger_metrics(folder), indent=2) + "\n").encode())
    others = read_json(folder / "judged.json")
    if not isinstance(others, dict):
        raise wrong(f"{folder / 'judged.json'}", others, dict)
    return shortened(entry(folder) | others)


def shortened(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a ledger entry with its measured numbers rounded to 9 digits, of curves to 6, standard errors to 4.

    Of a curve of more than 100 epochs it keeps the first, about 100 at equal distances, and the last ten.
    """
    kept = {name: of if name in ("keywords", "settings") else rounded(of, 9, 6) for name, of in entry.items()}
    return kept | {"curve": {name: _thinned(curve) for name, curve in kept["curve"].items()}}


def _thinned(curve: list[float | None]) -> list[float | None]:
    step, last = ceil(len(curve) / KEPT_EPOCHS), len(curve) - max(LAST_EPOCHS.values())
    return [value if i == 1 or i % step == 0 or i > last else None for i, value in enumerate(curve, start=1)]


def _keep_pictures(run: Path, folder: Path) -> None:
    """Copy the pictures of a run but for those of more than KEPT bytes, and record the code that drew them."""
    for picture in (run / "figures").glob("*"):
        if picture.stem in FIGURES and is_regular(picture) and picture.stat().st_size <= KEPT:
            make_folder(folder)
            write_atomically(folder / picture.name, picture.read_bytes())
    if folder.is_dir():
        record(folder)


def reproduce(
    names: Iterable[str],
    seeds: Sequence[int],
    out: Path,
    ledger: Path,
    quick: bool = False,
    report: Callable[[str], None] = print,
    share: tuple[int, int] = (1, 1),
) -> dict[str, dict[str, Any]]:
    """Run recipes and return the ledger.

    If a pair is refused before its first step, its row has the reason under "refused".

    :param names: names of recipes
    :param seeds: seeds of every recipe
    :param out: folder of the runs
    :param ledger: file of the ledger, created or extended; pictures and experiments are written beside it
    :param quick: a few epochs each, on the embedded digits instead of larger images
    :param report: called with one line for every run
    :param share: (i, N): only every N-th of the runs, from the i-th on, so that N processes share them
    :raises RunError: if a folder holds a different run, or `ledger` is not a ledger
    """
    make_folder(out)
    make_folder(ledger.parent)
    of_share = cycle(i == share[0] for i in range(1, share[1] + 1))
    for recipe in (RECIPES[name] for name in names):
        chosen = [seed for seed, included in zip(seeds, of_share, strict=False) if included]
        of_recipe = out / recipe.name.replace(":", "-")
        _fit_together(recipe, chosen, of_recipe, quick, report)
        row = _row(recipe, f"gallery reproduce {recipe.name}{' --quick' if quick else ''}")
        for seed in chosen:
            folder = of_recipe / f"seed-{seed}"
            report(f"{recipe.name}, seed {seed}: {folder}")
            try:
                row["runs"] = {str(seed): measured(recipe, seed, folder, quick)}
            except (RunError, InferenceError) as error:
                if folder.exists():
                    raise
                report(f"refused: {error}")
                row["refused"] = str(error)
            if seed == _add(ledger, recipe.name, row):
                _keep_pictures(folder, ledger.parent / "pictures" / of_recipe.name)
            if "refused" in row:
                break
        experiments = ledger.parent / "experiments" / recipe.model
        if recipe.name in EXPERIMENTS and min(seeds) in chosen and not quick and not experiments.is_dir():
            report(f"{recipe.name}: the published experiments")
            staged = experiments.with_name(f".{recipe.model}")  # the folder appears once it is complete
            with writing(experiments):
                shutil.rmtree(staged, ignore_errors=True)
                make_folder(staged)
                run_experiments(recipe.name, staged, of_recipe / f"seed-{min(seeds)}")
                of_run = read(ledger)[recipe.name]["runs"].get(str(min(seeds)), {})
                about = {"command": row["command"]} | {name: of_run[name] for name in ABOUT if name in of_run}
                write_atomically(staged / "about.json", (json.dumps(about, indent=2) + "\n").encode())
                record(staged)
                staged.rename(experiments)
    return read(ledger)
