"""The commands on models and data sets: `gallery list`, `show`, `data` and `data download`.

`gallery list` reads the sources of the models, so torch is imported by the other commands only.
"""

import sys
from pathlib import Path
from typing import Literal

from cyclopts import App
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gallery.catalogue.recipes import RECIPES, recipe_for
from gallery.errors import RunError
from gallery.models import MODELS, family_module, title
from gallery.runs.registry import constructor, installed, model_class

__all__ = ["data_app", "list_models", "show"]

data_app = App(
    name="data", help="List the data sets, or fetch one.", help_format="plaintext", suppress_keyboard_interrupt=False
)


def list_models() -> None:
    """List the models, with the first line of their story and the data of their recipe."""
    table = Table("model", "description", "data", box=None)
    for name in MODELS:
        recipe = recipe_for(name)
        table.add_row(name, title(name), recipe.data if recipe else "")
    for name, point in installed().items():
        try:
            story = (sys.modules[model_class(name).__module__].__doc__ or "").strip().partition("\n")[0]
        except RunError as error:
            print(f"gallery: {error}", file=sys.stderr)
        else:
            table.add_row(escape(name), escape(f"{story} ({point.value})"), "")
    Console(width=140 if not sys.stdout.isatty() else None).print(table)


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

    cls = model_class(model)
    print((family_module(cls).__doc__ or "").strip())
    print(f"\n{model}: {(cls.__doc__ or '').partition(':param')[0].strip()}\n")
    help_of = parameter_help(cls)
    for name, parameter in constructor(cls).items():
        default = "" if parameter.default is parameter.empty else parameter.default
        print(f"  --{name.replace('_', '-')} {default}  {help_of.get(name, '')}")
    for recipe in RECIPES.values():
        if recipe.model == model:
            print(f"\nrecipe {recipe.name}: {recipe.data}, {recipe.settings}\n  source: {recipe.source}")
            for source, known in (("published", recipe.published), ("re-measured", recipe.remeasured)):
                for quantity, value in known.items():
                    print(f"  {source} {quantity}: {value}")


@data_app.default
def list_data() -> None:
    """List the data sets."""
    import data as data_sets

    table = Table("data", "description", "size", "pixel transforms", "available", box=None)
    for row in data_sets.describe():
        table.add_row(row.name, row.description, row.size, " ".join(row.transforms), "yes" if row.available else "no")
    Console(width=160 if not sys.stdout.isatty() else None).print(table)
    print(
        "\nImages need a pixel transform: mnist:threshold. Your data: path/to/images.npz:grey, or a folder of pictures."
    )


@data_app.command
def download(name: str, /) -> None:
    """Fetch a data set into $GALLERY_DATA, or the user's cache folder.

    :param name: mnist, fashion-mnist or kmnist.
    """
    import data as data_sets

    print(data_sets.download(name))
