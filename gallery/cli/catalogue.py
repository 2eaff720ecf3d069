"""The commands on models and data sets: `gallery list`, `show`, `data` and `data download`.

`gallery list` reads the sources of the models, so torch is imported by the other commands only.
"""

import inspect
import re
import shutil
import statistics
import sys
import textwrap
from pathlib import Path
from typing import Literal

from cyclopts import App
from rich.console import Console
from rich.table import Table

from gallery.catalogue.needed import needs_files
from gallery.catalogue.recipes import RECIPES, recipe_for
from gallery.catalogue.sections import SECTIONS, section_of
from gallery.cli.flags import WORDS
from gallery.errors import RunError
from gallery.models import MODELS, family_module, title
from gallery.runs.parse import read_json
from gallery.runs.registry import constructor, installed, model_class

__all__ = ["data_app", "list_models", "show"]

data_app = App(
    name="data",
    help="List the data sets, or fetch one.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    default_parameter=WORDS,
)


def list_models() -> None:
    """List the models in groups: seconds of a fit by its recipe, whether it needs data, and its story in a line."""
    groups: dict[str, list[list[str]]] = {section.title: [] for section in SECTIONS}
    seconds = _seconds()
    for name in MODELS:
        recipe = recipe_for(name)
        needs = recipe.data.partition(":")[0] if recipe and needs_files(recipe.data) else ""
        measured = [seconds[other.name] for other in RECIPES.values() if other.model == name and other.name in seconds]
        time = _duration(measured[0]) if measured else ""
        groups[section_of(name.partition(":")[0])].append([name, time, f"needs {needs}" if needs else "", title(name)])
    for name, point in installed().items():
        try:
            story = (sys.modules[model_class(name).__module__].__doc__ or "").strip().partition("\n")[0]
        except RunError as error:
            print(f"gallery: {error}", file=sys.stderr)
        else:
            groups.setdefault("Installed packages", []).append([name, "", "", f"{story} ({point.value})"])
    widths = [max(len(row[i]) for rows in groups.values() for row in rows) for i in range(3)]
    about = {section.title: section.about for section in SECTIONS}
    for group, rows in groups.items():
        _print_wrapped(f"{group}: ", about.get(group, "models of other packages"))
        for label, time, needs, text in rows:
            _print_wrapped(f"  {label:{widths[0]}}  {time:>{widths[1]}}  {needs:{widths[2]}}  ", text)
        print()
    print(
        "Times are of a fit by the recipe on one thread of a CPU; the first fit of a model compiles for up to a minute"
    )
    print("more. `gallery data download mnist` fetches MNIST; without it, add `--data digits:threshold` or `--data")
    print("digits:grey`. `gallery show MODEL` has the story.")


def _seconds() -> dict[str, float]:
    """Return the median seconds of a fit by recipe, as measured in the ledger."""
    ledger = read_json(Path(__file__).parents[1] / "ledger" / "results" / "ledger.json")
    runs = {name: [entry["seconds"] for entry in row["runs"].values()] for name, row in ledger.items()}
    return {name: statistics.median(seconds) for name, seconds in runs.items() if seconds}


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _print_wrapped(start: str, text: str) -> None:
    """Print text after a start, in lines below each other on a terminal, in one line elsewhere; nothing is cut."""
    width = shutil.get_terminal_size().columns - len(start) if sys.stdout.isatty() else 0
    first, *others = textwrap.wrap(text, width) if width > 20 else [text]
    print(f"{start}{first}", *(" " * len(start) + line for line in others), sep="\n")


def show(
    model: str,
    /,
    *,
    diagram: Path | None = None,
    of: Literal["model", "guide"] = "model",
    data: str | None = None,
) -> None:
    """Print the story of a model, its hyper-parameters and its published results; or draw its plate diagram.

    :param model: Its name, or path/to/file.py:CLASS.
    :param diagram: An .svg file for the plate diagram, which is read off the running code.
    :param of: Which of the two to draw.
    :param data: Data set and pixel transform of the drawn model [digits, or data that fit its likelihood].
    """
    if diagram:
        from gallery.cli.check import choose_run
        from gallery.report.diagram import save
        from gallery.runs.specification import Run

        print(save(Run.of(model, None, data) if data else choose_run(model), of, diagram))
        return
    from gallery.cli.flags import parameter_help
    from gallery.runs.table import aligned

    cls = model_class(model)
    print(_without_doctests(family_module(cls).__doc__))
    print(f"\n{model}: {_without_doctests((cls.__doc__ or '').partition(':param')[0])}")
    help_of = parameter_help(cls)
    rows: list[tuple[str, str, str]] = []
    for name, parameter in constructor(cls).items():
        default = "required" if parameter.default is parameter.empty else str(parameter.default)
        rows.append((f"--{name.replace('_', '-')}", default, help_of.get(name, "")))
    if rows:
        print("\nhyper-parameters, with their defaults")
        print(*aligned(rows), sep="\n")
    for recipe in RECIPES.values():
        if recipe.model == model:
            extra = "" if recipe.name == model else f" --recipe {recipe.name}"
            print(f"\nrecipe {recipe.name} on {recipe.data}: `gallery fit {model}{extra}`")
            known = [("published", recipe.published), ("re-measured", recipe.remeasured)]
            rows = [("source", recipe.source, "")]
            chosen = recipe.keywords | recipe.settings
            rows += [
                (name, " ".join(map(str, v)) if isinstance(v, tuple) else str(v), "") for name, v in chosen.items()
            ]
            rows += [(f"{word} {name}", f"{value:g}", "") for word, of in known for name, value in of.items()]
            print(*aligned(rows), sep="\n")


def _without_doctests(text: str | None) -> str:
    """Return a docstring without its examples, which a terminal does not run."""
    parts = re.split(r"\n\s*\n", inspect.cleandoc(text or ""))
    return "\n\n".join(part for part in parts if not part.lstrip().startswith(">>>")).strip()


@data_app.default
def list_data() -> None:
    """List the data sets."""
    import data as data_sets

    table = Table("data", "description", "size", "pixel transforms", "available", box=None)
    for row in data_sets.describe():
        table.add_row(row.name, row.description, row.size, " ".join(row.transforms), "yes" if row.available else "no")
    Console(width=160 if not sys.stdout.isatty() else None).print(table)
    print(
        "\nImages need a pixel transform: mnist:threshold. Your data: path/to/images.npz:grey, "
        "a folder of pictures, or table.csv (`gallery fit MODEL --help` has --columns and --label)."
    )


@data_app.command
def download(name: str, /) -> None:
    """Fetch a data set into $GALLERY_DATA, or the user's cache folder.

    :param name: mnist, fashion-mnist or kmnist.
    """
    import data as data_sets

    print(data_sets.download(name))
