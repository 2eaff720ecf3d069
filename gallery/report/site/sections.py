"""The page with the cards: one for each file of gallery/models, in rooms."""

import inspect
import sys
from dataclasses import dataclass
from pathlib import Path

from gallery.catalogue.recipes import RECIPES, Recipe
from gallery.models import MODELS
from gallery.models.autoencoder import Autoencoder
from gallery.report.site.numbers import Number, headline, numbers
from gallery.report.site.pictures import SHOWS, known, telling, thumbnail
from gallery.report.site.run_pages import Found
from inference.pairs.capabilities import exact

ROOMS = {
    "Where the truth is known": "Small models whose evidence is computed exactly, so that every bound can be compared "
    "with it.",
    "Codes without a posterior": "Autoencoders as pairs: the guide is a point, so there is no bound. They are "
    "judged by what they reconstruct and by what their codes are good for.",
    "Codes with a posterior": "Variational autoencoders: plain, of a given class, with few labels, with a discrete "
    "cause, and in time.",
}


@dataclass(frozen=True)
class Card:
    """What hangs in a room.

    :param what: it is, in a line
    :param data: what the number was measured on, and by which recipe or run
    :param picture: where it is; empty where there is none
    :param alt: what the picture shows
    """

    title: str
    what: str
    page: str
    number: Number | None
    data: str
    picture: str
    alt: str


def room_of(name: str) -> str:
    """The room that a model is in."""
    first, second, third = ROOMS
    if exact(MODELS[name], "log_evidence"):
        return first
    return second if issubclass(MODELS[name], Autoencoder) else third


def title(family: str) -> tuple[str, str]:
    """(name, what it is) from the first line of the docstring of a file of gallery/models."""
    first = inspect.getdoc(sys.modules[MODELS[family].__module__]).splitlines()[0].rstrip(".")
    name, _, what = first.partition(": ")
    return name, what


def recipes_of(family: str) -> list[Recipe]:
    """The recipes of a file of gallery/models."""
    return [recipe for recipe in RECIPES.values() if recipe.model.partition(":")[0] == family]


def card(family: str, ledger: dict, kept: Path, runs: list[Found], site: Path) -> Card:
    """The card of a model: the first of its recipes in the ledger, else the first run of the reader's own.

    :param kept: the folder of the ledger, with its pictures
    :param site: where a small picture is written
    """
    number, data = None, ""
    for recipe in recipes_of(family):
        row = ledger.get(recipe.name)
        if number is None and (number := headline(numbers(recipe, row))):
            data = f"{next(iter(row['runs'].values()))['data']}, recipe {recipe.name}"
    folders = [kept / "pictures" / recipe.name.replace(":", "-") for recipe in recipes_of(family)]
    folders.append(kept / "experiments" / family)
    if number is None and runs:  # and its picture: one of another run would not show what the number is of
        number, data = headline(runs[0].numbers()), f"{runs[0].data}, your run {runs[0].name}"
        folders = [runs[0].folder / "figures"]
    paths = sorted((path for folder in folders for path in known(folder)), key=telling)
    picture = thumbnail(paths[0], site, family) if paths else ""
    name, what = title(family)
    alt = f"{SHOWS[paths[0].stem]}: {name}" if paths else ""
    return Card(name, what, f"{family}.html", number, data, picture, alt)
