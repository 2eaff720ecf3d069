"""What leads a model page: its explorer, the panel of an exact model, or the best picture of its recipes."""

from functools import cache
from pathlib import Path

from gallery.catalogue.recipe import Recipe
from gallery.catalogue.recipes import RECIPES, recipe_for
from gallery.figures.card import card
from gallery.figures.style import save
from gallery.report.explorers import committed_explorer, hero_explorer
from gallery.report.site.pictures import Picture, copy_pictures, has_classes, known_pictures
from gallery.runs.registry import model_class
from gallery.runs.specification import run_of
from inference.files import make_folder
from inference.pairs.capabilities import exact

__all__ = ["exact_panel", "hero", "hero_of", "recipes_of"]


def recipes_of(family: str) -> list[Recipe]:
    """Return the recipes of a file of gallery/models."""
    return [recipe for recipe in RECIPES.values() if recipe.model.partition(":")[0] == family]


def exact_panel(family: str, site: Path, labels: bool) -> tuple[str, str, int, int] | None:
    """Draw the panel of an exact model into the site, without any fitted weights.

    :param labels: for a page, with axes and a title; else for a card
    :return: (path relative to the pages, title, width, height); None if the model is not exact
    """
    recipe = recipe_for(family)
    assert recipe is not None  # every model of the gallery has one
    if exact(model_class(recipe.model), "log_evidence") is not None:
        run = run_of(recipe, 0)
        if (figure := card(run.build(), run.datasets()["train"], labels)) is not None:
            src = f"pictures/{'hero' if labels else 'cards'}/{family}.png"
            make_folder((site / src).parent)
            save(figure, site / src)
            width, height = (round(inches * 110) for inches in figure.get_size_inches())
            return src, figure.axes[0].get_title("left"), width, height
    return None


@cache
def hero_of(family: str) -> str | None:
    """Return the explorer that leads a model page without any run, as an HTML fragment; None if no explorer applies."""
    recipe = recipe_for(family)
    assert recipe is not None
    if exact(model_class(recipe.model), "log_evidence") is None:  # the images of its recipe may not be here
        return committed_explorer(family)
    return hero_explorer(run_of(recipe, 0))


def hero(family: str, name: str, ledger: Path, site: Path) -> Picture | None:
    """Return the first picture of a model page; None if no picture is installed and the model is not exact.

    :param name: the title of the model
    :param ledger: the folder of the ledger
    """
    if (panel := exact_panel(family, site, labels=True)) is not None:
        src, title, width, height = panel
        return Picture(src, f"{title}.", f"{title}: {name}", width, height)
    for recipe in recipes_of(family):
        folder = ledger / "pictures" / recipe.name.replace(":", "-")
        if any(path.stem != "learning_curve" for path in known_pictures(folder)):
            return copy_pictures(folder, site, folder.name, name, classes=has_classes(recipe.data))[0]
    return None
