"""The generated tables of README.md, RESULTS.md and BENCHMARKS.md.

`python -m gallery.ledger.tables` writes them into the three files; a test compares them.
"""

import inspect
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from gallery.catalogue.recipe import Recipe
from gallery.catalogue.recipes import RECIPES, recipe_for
from gallery.ledger.command_table import commands_table
from gallery.ledger.estimator_tables import estimators_table
from gallery.ledger.experiment_tables import experiments_table, markdown_table
from gallery.ledger.fields import Field, differences, displayed_fields, find_entry, monte_carlo_error
from gallery.ledger.reproduce import read
from gallery.ledger.scale import scale_of
from gallery.models import MODELS, family_module
from inference import Settings
from inference.evaluation.estimate import two_digits
from inference.files import write_atomically
from inference.pairs.capabilities import exact

__all__ = [
    "FILES",
    "LEDGER",
    "README",
    "experiments_table",
    "headline",
    "number",
    "overview_table",
    "performance_table",
    "recipes_table",
    "results_sections",
    "source_number",
    "variants_table",
    "with_tables",
]

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
LEDGER = Path(__file__).parent / "results"
HEADLINES = ("error of q(y | x)", "ELBO", "ELBO, training data", "log p(x) - ELBO, training data", "squared error")

HEADER = (
    "quantity",
    "median",
    "published",
    "re-measured",
    "lowest",
    "highest",
    "standard error",
    "Monte Carlo error",
)
EXACT: dict[Literal["log_evidence", "posterior", "e_step"], str] = {
    "log_evidence": "log evidence",
    "posterior": "posterior",
    "e_step": "EM",
}


def headline(recipe: Recipe, row: dict[str, Any] | None) -> Field | None:
    """Return the field that represents a recipe in overviews, None if nothing was measured.

    A field with a published number has priority: the classification error, the IWAE, the ELBO per step, or the ELBO at
    the last published epoch. Otherwise it is the first of `HEADLINES` that was measured.

    :param row: the row of the recipe in the ledger, None if it was not run
    """
    measured = {field.name: field for field in displayed_fields(recipe, row) if field.values}
    epochs = [name for name in recipe.published if name.removeprefix("ELBO, epoch ").isdigit()]
    first = ("error of q(y | x)", "IWAE-5000", "ELBO per step")
    names = (*(name for name in first if name in recipe.published), *reversed(epochs))
    return next((measured[name] for name in (*names, *HEADLINES) if name in measured), None)


def number(value: float) -> str:
    """Format a number: counts as integers, numbers below 1 with three significant digits, others with two decimals."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"


def source_number(value: float | None) -> str:
    """Format a number of a source with the digits that the source has; empty for none."""
    return "" if value is None else f"{value:.12g}"


def overview_table() -> str:
    """Return the table of README.md: a row for each model, with the headline of its first recipe that was run."""
    ledger, rows = read(LEDGER / "ledger.json"), []
    for name in MODELS:
        recipe = next((r for r in RECIPES.values() if r.model == name and r.name in ledger), recipe_for(name))
        if ":" in name or recipe is None:
            continue
        row = ledger.get(recipe.name)
        shown = headline(recipe, row)
        mark = ", one seed" if row and len(row["runs"]) == 1 else ""
        rows.append(
            [
                f"[`{name}`](gallery/models/{name}.py)",
                _about(name),
                f"{shown.name}: {number(statistics.median(shown.values))}{mark}" if shown else "",
                source_number(shown.published if shown else None),
                scale_of(recipe, shown.name) if shown else "",
                _seconds(row),
            ]
        )
    return markdown_table(["model", "description", "headline number", "published", "scale", "seconds"], rows)


def variants_table() -> str:
    """Return a row for each model file: description, variants, exact answers and the data of its first recipe."""
    rows = []
    for name, cls in MODELS.items():
        recipe = recipe_for(name)
        if ":" in name or recipe is None:
            continue
        variants = ", ".join(f"`{other}`" for other in MODELS if other.startswith(f"{name}:"))
        exact_answers = ", ".join(text for method, text in EXACT.items() if exact(cls, method))
        rows.append([f"`{name}`", _about(name), variants, exact_answers, recipe.data])
    return markdown_table(["model", "description", "variants", "exact answers", "data"], rows)


def recipes_table() -> str:
    """Return a row for each recipe: its headline, the published number, what they are logarithms of, data, number of
    seeds and seconds per seed."""
    ledger, rows = read(LEDGER / "ledger.json"), []
    for name, recipe in RECIPES.items():
        row = ledger.get(name)
        shown = headline(recipe, row)
        rows.append(
            [
                f"`{name}`",
                number(statistics.median(shown.values)) if shown else "",
                source_number(shown.published if shown else None),
                shown.name if shown else "",
                scale_of(recipe, shown.name) if shown else "",
                recipe.data,
                _status(row),
                _seconds(row),
            ]
        )
    return markdown_table(["recipe", "measured", "published", "quantity", "scale", "data", "seeds", "seconds"], rows)


def results_sections() -> str:
    """Return a section for each recipe with all its fields: median and range over seeds, standard error, published."""
    ledger = read(LEDGER / "ledger.json")
    return "\n\n".join(_section(recipe, ledger.get(name)) for name, recipe in RECIPES.items())


def performance_table() -> str:
    """Return the table of `gallery bench --json gallery/ledger/results/bench.json`."""
    from gallery.bench import table

    return table(_benchmark())


def _bars() -> str:
    """Return the table of the bars of the same file."""
    from gallery.bench.bars import bars_table

    return bars_table(_benchmark())


def _benchmark() -> dict[str, Any]:
    return json.loads((LEDGER / "bench.json").read_text())


def with_tables(text: str) -> str:
    """Return the text of a file with its generated parts replaced by the current tables."""
    tables: dict[str, Callable[[], str]] = {
        "overview": overview_table,
        "variants": variants_table,
        "estimators": estimators_table,
        "recipes": recipes_table,
        "results": results_sections,
        "experiments": lambda: f"{experiments_table()}\n\n### Commands of the experiments\n\n{commands_table()}",
        "performance": performance_table,
        "bars": _bars,
    }
    for name, table in tables.items():
        before, separator, rest = text.partition(f"<!-- {name}:")
        if separator:
            comment, newline, rest = rest.partition("-->\n")
            _, end, after = rest.partition(f"<!-- /{name} -->")
            text = f"{before}{separator}{comment}{newline}{table()}\n{end}{after}"
    return text


FILES = (README, ROOT / "RESULTS.md", ROOT / "BENCHMARKS.md")
"""The files with generated tables."""


def _about(name: str) -> str:
    """Return the first line of the docstring of a model's module, without the full stop."""
    doc = inspect.getdoc(family_module(MODELS[name])) or ""
    return doc.partition("\n")[0].rstrip(".")


def _seconds(row: dict[str, Any] | None) -> str:
    """Return the median of the seconds per seed."""
    if not row or not row["runs"]:
        return ""
    seconds = statistics.median(entry["seconds"] for entry in row["runs"].values())
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}"


def _status(row: dict[str, Any] | None) -> str:
    if row is None:
        return "not run"
    return str(len(row["runs"])) if row["runs"] else "refused"


def _section(recipe: Recipe, row: dict[str, Any] | None) -> str:
    lines = [f"### `{recipe.name}`", ""]
    if row is None:
        settings = Settings(**recipe.settings)
        cost = f"{settings.epochs:,} epochs in minibatches of {settings.batch_size}, objective {settings.objective}"
        return "\n".join([*lines, f"On {recipe.data}. It was not run: {cost}. {recipe.note}".rstrip()])
    if not row["runs"]:
        return "\n".join([*lines, f"Refused before the first step: {row['refused']}"])
    seeds = ", ".join(sorted(row["runs"], key=int))
    about = f"On {recipe.data}. Seconds per seed: {_seconds(row)}. Seeds: {seeds}. Source: {recipe.source}."
    if len(row["runs"]) == 1:
        about += " One seed: how much the numbers vary between seeds is not known."
    older = {text: None for entry in row["runs"].values() for text in _older(recipe, entry)}
    if older:
        about += f" Measured before the recipe was changed, with {', '.join(older)}."
    first = next(iter(row["runs"].values()))
    rows = [_cells(first, field) for field in displayed_fields(recipe, row)]
    table = markdown_table(list(HEADER), rows) or "None of the displayed quantities is defined for it."
    return "\n".join([*lines, f"{about} {recipe.note}".rstrip(), "", table])


def _older(recipe: Recipe, entry: dict[str, Any]) -> list[str]:
    """Return what a run has otherwise than its recipe, in words."""
    return [f"{name} {was} (now {now})" for name, (now, was) in differences(recipe, entry).items()]


def _cells(first: dict[str, Any], field: Field) -> list[str]:
    """Return the cells of a field; lowest and highest are empty where they print as the median does."""
    known = [source_number(value) for value in (field.published, field.remeasured)]
    if not field.values:
        return [field.name, "", *known, "", "", "", ""]
    median, lowest, highest = (number(f(field.values)) for f in (statistics.median, min, max))
    spread = ["", ""] if lowest == median == highest else [lowest, highest]
    errors = find_entry(first, field.name).get("se"), monte_carlo_error(first, field.name)
    return [field.name, median, *known, *spread, *("" if error is None else two_digits(error) for error in errors)]


if __name__ == "__main__":
    for file in FILES:
        write_atomically(file, with_tables(file.read_text()).encode())
