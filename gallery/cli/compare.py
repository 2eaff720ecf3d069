"""`gallery compare MODEL` and `gallery compare --lesson NAME`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console

from gallery.catalogue.lessons import LESSONS
from gallery.cli.flags import WORDS, as_typed, flags_of
from gallery.errors import RunError
from gallery.runs.specification import Run

__all__ = ["compare_app", "compare_command"]

compare_app = App(
    name="compare",
    help="Fit a model in several ways and compare them: `gallery compare MODEL --help` lists its flags.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    default_parameter=WORDS,
)

_LESSONS = "; ".join(f"{name}: {lesson.title}" for name, lesson in LESSONS.items())
LISTS = ("objectives", "guides", "samplers")


def _flags() -> dict[str, tuple[type, str]]:
    from gallery.comparison.rows import SAMPLERS
    from inference.fit.objectives import OBJECTIVES
    from inference.guides.registry import GUIDES

    return {
        "data": (str, "Data set and pixel transform, such as digits:threshold, or a file [that of the recipe]."),
        "objectives": (
            str,
            f"Of {', '.join(OBJECTIVES)}, or a variant with the same weights (relaxed of gmvae), with commas between "
            "[the usual ones that apply]; none for samplers alone.",
        ),
        "guides": (
            str,
            f"Of {', '.join(GUIDES)}, or a variant with another guide (mean_field of linear_regression) [own].",
        ),
        "samplers": (str, f"Of {', '.join(SAMPLERS)}; they take no minibatches [none]."),
        "seeds": (int, "Number of seeds, from 0 [3]."),
        "out": (Path, "Folder of the comparison; finished rows in it are not run again [runs/compare-MODEL-DATA]."),
        "jobs": (int, "Processes at a time, of one thread each [the number of processors]."),
        "eval_draws": (int, "Draws of the guide for each data point in the evaluation: the k of IWAE-k [64]."),
        "nuts_draws": (
            int,
            "Draws of each of the two chains of NUTS, after half that number to adapt; half those of Pathfinder [500].",
        ),
        "validation": (bool, "Keep validation rows apart from training [that of the recipe]."),
    }


def compare_command(name: str) -> Callable[..., None]:
    """Return `gallery compare NAME` as a function of its flags."""
    hyper, settings, signature = flags_of(name, _flags(), without=("objective", "seed", "until"))

    def compare(**flags: Any) -> None:
        chosen = {key: value for key, value in flags.items() if value is not None}
        keywords, changed = ({key: chosen[key] for key in keys if key in chosen} for keys in (hyper, settings))
        run = Run.of(name, None, chosen.get("data"), keywords, changed, chosen.get("validation"))
        typed = {key: value for key, value in chosen.items() if key not in ("out", "jobs")}
        _print_comparison(run, chosen, f"gallery compare {name} {as_typed(typed)}".strip())

    compare.__doc__ = f"Fit {name} in several ways, and compare. Defaults, those of its first recipe, are in brackets."
    compare.__signature__ = signature  # type: ignore[attr-defined]  # cyclopts reads the flags off it
    return compare


@compare_app.default
def _lesson(
    *,
    lesson: Annotated[str | None, Parameter(help=f"A prepared comparison: {_LESSONS}.")] = None,
    out: Path | None = None,
    jobs: int | None = None,
) -> None:
    """Compare ways to fit a model: `gallery compare MODEL --help` lists the flags. Or run one of the lessons.

    :param out: Folder of the lesson [runs/lessons/LESSON].
    :param jobs: Number of processes that run at the same time, with one thread each [the number of processors].
    """
    if lesson is None:
        raise RunError(f"compare needs a model, as in `gallery compare vae`, or --lesson of {', '.join(LESSONS)}.")
    if lesson not in LESSONS:
        raise RunError(f"there is no lesson {lesson!r}: it is one of {', '.join(LESSONS)}.")
    folder, chosen = out or Path("runs") / "lessons" / lesson, LESSONS[lesson]
    for written, arguments in chosen.commands.items():
        name, last = _from_here(written), written.rpartition(":")[2]
        command = App(name=f"gallery compare {name}", suppress_keyboard_interrupt=False, default_parameter=WORDS)
        command.default(compare_command(name))
        more = ["--out", str(folder / last), *([] if jobs is None else ["--jobs", str(jobs)])]
        rest = [*arguments.split(), *more]
        command(rest, exit_on_error=False, print_error=False, result_action="return_value")
    print(f"\n{chosen.title}\n{chosen.answer}\n\n{chosen.text}")


def _from_here(model: str) -> str:
    """Return the name of a model of a lesson; a file of the package `inference` as it is found from this folder."""
    file = model.partition(":")[0]
    if not file.endswith(".py") or Path(file).exists():
        return model
    import inference

    return str(Path(inference.__file__).parents[1] / model)


def _print_comparison(run: Run, flags: dict[str, Any], typed: str) -> None:
    """Carry out a comparison, and print its tables and paths.

    :param flags: the flags of the command and the settings that were set
    :param typed: the command as it was typed
    """
    from gallery.comparison import compare
    from gallery.comparison.report import tables
    from gallery.comparison.rows import Comparison, default_objectives

    lists: dict[str, Any] = {name: tuple(dict.fromkeys(flags[name].split(","))) for name in LISTS if name in flags}
    lists = {name: () if names == ("none",) else names for name, names in lists.items()}
    if lists.get("objectives") == () and "batch_size" in flags:
        raise RunError("samplers take all data at once, and no minibatch: leave out --batch-size.")
    if "objectives" not in lists:
        lists["objectives"] = default_objectives(run)
    numbers: dict[str, Any] = {name: flags[name] for name in ("seeds", "eval_draws", "nuts_draws") if name in flags}
    comparison = Comparison(run, **lists, **numbers)
    name = f"compare-{Path(run.model).name}-{Path(run.data).name}".replace(":", "-")
    folder = flags.get("out") or Path("runs") / name
    result = compare(comparison, folder, flags.get("jobs", os.cpu_count() or 1), typed)
    console = Console()
    if not console.is_terminal:
        console = Console(width=190)
    for part in tables(result):
        console.print(part, soft_wrap=isinstance(part, str), markup=False, highlight=False)
    if result["verdict"]:
        print(result["verdict"])
    drawn = [name for name in ("bound.png", "variance.png", "error.png") if (folder / name).exists()]
    print(f"comparison: {folder}  ({', '.join(['compare.json', *drawn, 'rows'])})")
