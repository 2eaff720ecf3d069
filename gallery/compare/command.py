"""`gallery compare MODEL` and `gallery compare --lesson NAME`, after the command line has been read."""

import os
from pathlib import Path

from rich.console import Console

from gallery.compare import compare
from gallery.compare.report import tables
from gallery.compare.rows import SAMPLERS, Comparison, usual
from gallery.errors import RunError
from gallery.runs.specification import Run
from inference.fit.objectives import OBJECTIVES
from inference.guides.registry import GUIDES

FLAGS: dict[str, tuple[type, str]] = {
    "data": (str, "Data set and pixel law, such as digits:threshold, or a file [that of the recipe]."),
    "objectives": (
        str,
        f"Of {', '.join(OBJECTIVES)}, or a variant that relaxes the model (relaxed of gmvae), with commas between "
        "[the usual ones that apply]; none for samplers alone.",
    ),
    "guides": (
        str,
        f"Of {', '.join(GUIDES)}, or a variant with another guide (mean_field of linear_regression) [own].",
    ),
    "samplers": (str, f"Of {', '.join(SAMPLERS)}; they take no minibatches [none]."),
    "seeds": (int, "Number of seeds, from 0 [3]."),
    "out": (Path, "Folder of the comparison; what it holds already is not run again [runs/compare-MODEL-DATA]."),
    "jobs": (int, "Processes at a time, of one thread each [as many as there are processors]."),
    "judge_draws": (int, "Draws of the guide for each datum by which rows are judged: the k of IWAE-k [64]."),
    "nuts_draws": (int, "Draws of each of the two chains of NUTS, after half as many to adapt [500]."),
    "validation": (bool, "Keep validation rows apart from training [that of the recipe]."),
}
LISTS = ("objectives", "guides", "samplers")


def command(run: Run, flags: dict, words: str) -> None:
    """Compares, and prints tables and paths.

    :param flags: those of FLAGS that were given, and the settings
    :param words: the command as it was typed
    """
    lists = {name: tuple(dict.fromkeys(flags[name].split(","))) for name in LISTS if name in flags}
    lists = {name: () if names == ("none",) else names for name, names in lists.items()}
    if lists.get("objectives") == () and "batch_size" in flags:
        raise RunError("samplers take all data at once, and no minibatch: leave out --batch-size.")
    if "objectives" not in lists:
        lists["objectives"] = usual(run)
    numbers = {name: flags[name] for name in ("seeds", "judge_draws", "nuts_draws") if name in flags}
    comparison = Comparison(run, **lists, **numbers)
    name = f"compare-{Path(run.model).name}-{Path(run.data).name}".replace(":", "-")
    folder = flags.get("out") or Path("runs") / name
    result = compare(comparison, folder, flags.get("jobs", os.cpu_count()), words)
    console = Console()
    if not console.is_terminal:
        console = Console(width=190)
    for part in tables(result):
        console.print(part, soft_wrap=isinstance(part, str), markup=False, highlight=False)
    print(f"comparison: {folder}  (compare.json, bound.png, variance.png, rows)")
