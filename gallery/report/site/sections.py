"""The index page: one card per file of gallery/models, in sections."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gallery.catalogue.recipes import RECIPES, Recipe
from gallery.models import MODELS, family_module
from gallery.models.autoencoder import Autoencoder
from gallery.report.site.numbers import Number, headline, numbers
from gallery.report.site.pictures import CAPTIONS, known_pictures, rank, thumbnail
from gallery.report.site.run_pages import RunPage
from inference.pairs.capabilities import exact

__all__ = ["SECTIONS", "Card", "card", "recipes_of", "section_of", "title"]

SECTIONS = {
    "Exact evidence": "Small models whose evidence is computed exactly, so every bound can be compared with it.",
    "Deterministic codes": "Autoencoders as pairs: the guide is a point, so there is no bound. The metrics are the "
    "reconstruction error and the quality of the codes as features.",
    "Variational autoencoders": "Plain, conditional on a class, semi-supervised, with a discrete latent, and for "
    "sequences.",
}


@dataclass(frozen=True)
class Card:
    """A card of the index page.

    :param what: the model in one line
    :param data: the data of the number, and its recipe or run
    :param picture: the path of the picture relative to the pages; empty without one
    :param alt: the text alternative of the picture
    """

    title: str
    what: str
    page: str
    number: Number | None
    data: str
    picture: str
    alt: str


def section_of(name: str) -> str:
    """Return the section of a model."""
    first, second, third = SECTIONS
    if exact(MODELS[name], "log_evidence"):
        return first
    return second if issubclass(MODELS[name], Autoencoder) else third


def title(family: str) -> tuple[str, str]:
    """Return (name, description) from the first line of the docstring of a file of gallery/models."""
    first = (inspect.getdoc(family_module(MODELS[family])) or "").partition("\n")[0].rstrip(".")
    name, _, what = first.partition(": ")
    return name, what


def recipes_of(family: str) -> list[Recipe]:
    """Return the recipes of a file of gallery/models."""
    return [recipe for recipe in RECIPES.values() if recipe.model.partition(":")[0] == family]


def card(family: str, rows: dict[str, Any], ledger: Path, runs: list[RunPage], site: Path) -> Card:
    """Return the card of a model: its first recipe with a result in the ledger, else the user's first run.

    :param rows: the content of ledger.json
    :param ledger: the folder of the ledger
    :param site: the folder that a small picture is written to
    """
    number, data = None, ""
    for recipe in recipes_of(family):
        row = rows.get(recipe.name)
        if number is None and row and (number := headline(numbers(recipe, row))):
            data = f"{next(iter(row['runs'].values()))['data']}, recipe {recipe.name}"
    folders = [ledger / "pictures" / recipe.name.replace(":", "-") for recipe in recipes_of(family)]
    folders.append(ledger / "experiments" / family)
    if number is None and runs:  # with its picture, so that both are of the same run
        number, data = headline(runs[0].numbers()), f"{runs[0].data}, your run {runs[0].name}"
        folders = [runs[0].folder / "figures"]
    paths = sorted((path for folder in folders for path in known_pictures(folder)), key=rank)
    picture = thumbnail(paths[0], site, family) if paths else ""
    name, what = title(family)
    alt = f"{CAPTIONS[paths[0].stem]}: {name}" if paths else ""
    return Card(name, what, f"{family}.html", number, data, picture, alt)
