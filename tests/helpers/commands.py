"""Parse a command of the gallery as the command line does, without running it."""

import shlex

from gallery.catalogue.recipes import RECIPES
from gallery.cli.main import command_of
from gallery.cli.results import reproduce_recipes
from gallery.errors import unknown


def check_command(command: str) -> None:
    """Parse names and flags of a command.

    :raises ValueError: if the command line would refuse it
    """
    program, *arguments = shlex.split(command)
    if program != "gallery":
        raise ValueError(f"{command!r} is no command of the gallery.")
    app, arguments = command_of(arguments)
    function, given, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    if function is reproduce_recipes:
        for recipe in given.args:
            if recipe not in RECIPES:
                raise unknown("recipe", recipe, RECIPES)
