"""What the page of a model says: entry, diagrams, source, and for each of its recipes what was measured."""

import inspect
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path

from gallery.catalogue import plain
from gallery.catalogue.recipes import Recipe
from gallery.models import MODELS, family_module
from gallery.report.site.numbers import Number, bounds, information, kl_bars, numbers
from gallery.report.site.pictures import Picture, hang
from gallery.report.site.sections import recipes_of


@dataclass(frozen=True)
class Measured:
    """A recipe and what the ledger has of it."""

    recipe: Recipe
    command: str
    refused: str
    seeds: list[str]
    caption: str
    about: str
    numbers: list[Number]
    pictures: list[Picture]
    bounds: list[Number] = field(default_factory=list)
    kl: dict | None = None
    information: str = ""


def variants(family: str) -> list[str]:
    """The other models of the file."""
    return [name for name in MODELS if name.startswith(f"{family}:")]


def source(family: str) -> str:
    """The file of a model."""
    return inspect.getsource(family_module(MODELS[family]))


def plain_step(family: str) -> str:
    """The same step in plain PyTorch: the file of gallery/plain."""
    return inspect.getsource(sys.modules[plain.LOSSES[family].__module__])


def _settings(recipe: Recipe) -> str:
    """What a recipe sets, in words."""
    settings = {**recipe.keywords, **recipe.settings}
    values = {name: " ".join(map(str, v)) if isinstance(v, tuple) else v for name, v in settings.items()}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())


def _learning_curve(entry: dict | None) -> str:
    """What can be read off the learning curve of a run."""
    curve = entry and entry["curve"].get("elbo")
    return curve and f"The ELBO goes from {curve[0]:.2f} after epoch 1 to {curve[-1]:.2f} after epoch {len(curve)}."


def measured(recipe: Recipe, row: dict | None, kept: Path, site: Path) -> Measured:
    """A recipe beside what the ledger has of it; its pictures are copied to the site.

    :param kept: the folder of the ledger, with its pictures
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
        )
    return Measured(
        recipe,
        (row or {}).get("command", f"gallery reproduce {recipe.name}"),
        (row or {}).get("refused", ""),
        seeds,
        caption,
        _settings(recipe),
        numbers(recipe, row),
        hang(kept / "pictures" / folder, site, folder, of, {"learning_curve": _learning_curve(first)}),
        **({"bounds": bounds(first), "kl": kl_bars(first), "information": information(first)} if first else {}),
    )


def all_measured(family: str, ledger: dict, kept: Path, site: Path) -> list[Measured]:
    """Every recipe of a file of gallery/models."""
    return [measured(recipe, ledger.get(recipe.name), kept, site) for recipe in recipes_of(family)]
