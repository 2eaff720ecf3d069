"""The parts of a model page that come from the code and the ledger: sources, and the results of each recipe."""

import inspect
import re
import statistics
import sys
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from gallery.catalogue import plain
from gallery.catalogue.recipe import Recipe
from gallery.figures.sources import RECORD
from gallery.ledger.tables import headline, source_number
from gallery.models import MODELS, family_module
from gallery.report.site.hero import recipes_of
from gallery.report.site.numbers import Number, bounds, information, kl_bars, numbers
from gallery.report.site.pictures import Picture, copy_pictures, has_classes
from gallery.report.site.text import sentence
from gallery.runs.report import verdicts

__all__ = [
    "Measured",
    "Reference",
    "all_measured",
    "definition",
    "has_experiments",
    "has_numbers",
    "measured",
    "plain_step",
    "references",
    "source",
    "variants",
    "verdicts_of",
]


@dataclass(frozen=True)
class Measured:
    """A recipe with its results in the ledger.

    :param command: the command that reproduces it
    :param refused: why it was refused before the fit; empty if it was not
    :param seeds: the seeds that were run
    :param about: the settings of the recipe
    :param bounds: lower bounds and evidence of the first seed
    :param kl: see `kl_bars`, of the first seed
    :param headline: the number that represents the recipe, in a sentence; empty if it was not measured
    :param verdicts: (name, verdict in words) of the first seed
    """

    recipe: Recipe
    command: str
    refused: str
    seeds: list[str]
    caption: str
    about: str
    numbers: list[Number]
    pictures: list[Picture]
    bounds: list[Number] = field(default_factory=list)
    kl: dict[str, Any] | None = None
    information: str = ""
    headline: str = ""
    verdicts: list[tuple[str, str]] = field(default_factory=list)


def variants(family: str) -> list[str]:
    """Return the names of the variants in the file of a model."""
    return [name for name in MODELS if name.startswith(f"{family}:")]


def source(family: str) -> str:
    """Return the source of the file of a model."""
    return inspect.getsource(family_module(MODELS[family]))


def definition(family: str) -> str:
    """Return the name of the model whose `model` and `guide` a page shows: the first that its file defines."""
    module = family_module(MODELS[family]).__name__
    return next((name for name in [family, *variants(family)] if MODELS[name].__module__ == module), family)


@dataclass(frozen=True)
class Reference:
    """A work of the BibTeX of an entry.

    :param title: with $mathematics$
    :param link: its arXiv page, or a search for its title
    """

    authors: str
    title: str
    year: str
    link: str


def references(bibtex: str) -> list[Reference]:
    """Return the works of a BibTeX text: authors by their last names, title, year and link."""
    works = []
    for body in re.findall(r"^@\w+\{\w+,\n(.*?)^\}$", bibtex, flags=re.MULTILINE | re.DOTALL):
        fields = dict(re.findall(r"^  (\w+) = \{(.*?)\},?$", body, flags=re.MULTILINE | re.DOTALL))
        plain = {key: _as_text(value) for key, value in fields.items()}
        names = [name.partition(",")[0] for name in plain["author"].split(" and ")]
        authors = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        query = f"https://scholar.google.com/scholar?q={quote_plus(plain['title'].replace('$', ''))}"
        link = f"https://arxiv.org/abs/{plain['eprint']}" if "eprint" in plain else query
        works.append(Reference(authors, plain["title"], plain.get("year", ""), link))
    return works


def _as_text(value: str) -> str:
    """Return a value of a BibTeX field without braces, and with its accents as characters."""
    marks = {'"': "\u0308", "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303"}
    letters = re.sub(r"\\([\"'`^~])\{?(\w)\}?", lambda match: match[2] + marks[match[1]], value)
    return unicodedata.normalize("NFC", " ".join(letters.replace("{", "").replace("}", "").split()))


def plain_step(family: str) -> str:
    """Return the source of the same loss in plain PyTorch: its file of gallery/catalogue/plain."""
    return inspect.getsource(sys.modules[plain.LOSSES[family].__module__])


def _settings(recipe: Recipe) -> str:
    """Return the settings of a recipe as a line of text."""
    settings = {**recipe.keywords, **recipe.settings}
    lists = {name.replace("_", " "): v if isinstance(v, tuple) else (v,) for name, v in settings.items()}
    return ", ".join(
        " ".join([name, *(source_number(v) if isinstance(v, float) else str(v) for v in values)])
        for name, values in lists.items()
    )


def has_experiments(family: str, ledger: Path) -> bool:
    """Return whether the ledger has experiments on a model."""
    return (ledger / "experiments" / family).is_dir()


def has_numbers(family: str, ledger: Path) -> bool:
    """Return whether the ledger has numbers of experiments on a model, besides their pictures."""
    return any(path.name != RECORD for path in (ledger / "experiments" / family).glob("*.json"))


def _learning_curve(entry: dict[str, Any] | None) -> str:
    """Return a sentence on the learning curve of a run; empty without a curve."""
    curve = entry["curve"].get("elbo") if entry else None
    if not curve:
        return ""
    return f"The ELBO goes from {curve[0]:.2f} after epoch 1 to {curve[-1]:.2f} after epoch {len(curve)}."


def verdicts_of(entry: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the verdicts on a run: of its training data where a latent or the guide is of these alone."""
    test, train = entry["test"], entry.get("train", {})
    of_training = "elbo" in train and ("se" in test.get("undefined", {}) or "elbo" not in test)
    joint = {"undefined": test.get("undefined", {})}  # the ledger has the reasons once
    rows = verdicts(joint | train, "train") if of_training else verdicts(test, "test")
    return [(name, re.sub(r"(?<!\w)-(?=\d)", "−", verdict.replace("+-", "±"))) for name, verdict in rows]


def _headline(recipe: Recipe, row: dict[str, Any] | None, of: list[Number]) -> str:
    """Return the number that represents a recipe as a sentence, with the published one; empty if it was not measured.

    :param of: the numbers of the recipe
    """
    shown = headline(recipe, row)
    if shown is None:
        return ""
    it = next(number for number in of if number.name == shown.name)
    unit = re.sub(r",? *\d+ particles?$|^fraction", "", it.unit.removeprefix(shown.name)).strip()
    several = f"median and range of {it.seeds} seeds" if "[" in it.measured else f"the same for {it.seeds} seeds"
    seeds = several if it.seeds > 1 else "one seed"
    published = f"published: {it.published}" if it.published else ""
    words = [f"{it.name.replace(' - ', ' − ')}: {it.measured} {unit}".strip(), *filter(None, (seeds, published))]
    return f"{sentence('; '.join(words))}."


def measured(recipe: Recipe, row: dict[str, Any] | None, ledger: Path, site: Path) -> Measured:
    """Return a recipe with its results, and copy its pictures to the site.

    :param row: its row of the ledger; None if it was not run
    :param ledger: the folder of the ledger
    """
    runs = (row or {"runs": {}})["runs"]
    seeds, first = sorted(runs, key=int), next(iter(runs.values()), None)
    folder = recipe.name.replace(":", "-")
    of = f"Recipe {recipe.name}, {recipe.data}, seed {seeds[0]}" if seeds else f"Recipe {recipe.name}"
    caption = ""
    if first:
        minutes = statistics.median(entry["seconds"] for entry in runs.values()) / 60
        caption = (
            f"{recipe.name} on test data of {first['data']}, seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}: "
            f"{minutes:.1f} minutes{' each' if len(seeds) > 1 else ''}, {first['processor']}, {first['device']}"
            f"{'' if len(seeds) > 1 else '. One seed: the spread between seeds is not known'}"
        )
    rows_of = numbers(recipe, row)
    return Measured(
        recipe,
        (row or {}).get("command", f"gallery reproduce {recipe.name}"),
        (row or {}).get("refused", ""),
        seeds,
        caption,
        _settings(recipe),
        rows_of,
        copy_pictures(
            ledger / "pictures" / folder,
            site,
            folder,
            of,
            {"learning_curve": _learning_curve(first)},
            classes=has_classes(recipe.data),
        ),
        bounds(first) if first else [],
        kl_bars(first) if first else None,
        information(first) if first else "",
        _headline(recipe, row, rows_of),
        verdicts_of(first) if first else [],
    )


def all_measured(family: str, rows: dict[str, Any], ledger: Path, site: Path) -> list[Measured]:
    """Return all recipes of a file of gallery/models with their results."""
    return [measured(recipe, rows.get(recipe.name), ledger, site) for recipe in recipes_of(family)]
