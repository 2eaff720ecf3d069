"""The flags of a command on a model, read off the model's constructor and `inference.Settings`."""

import dataclasses
import inspect
import re
import shlex
from collections.abc import Sequence
from typing import Annotated, Any, get_type_hints

from cyclopts import CoercionError, Parameter, Token, convert

from gallery.catalogue.recipes import recipe_for
from gallery.errors import RunError
from gallery.runs.registry import constructor, model_class

__all__ = ["WORDS", "as_typed", "flags_of", "parameter_help"]


def _converted(kind: Any, tokens: Sequence[Token]) -> Any:
    """Return the words of a flag as its type; an integer is digits, where cyclopts rounds 1.5 to 2."""
    for token in tokens if kind in (int, list[int]) else ():
        if not re.fullmatch(r"[+-]?\d+", token.value):
            expected = f"expected an integer, got {token.value!r}. Write digits alone."
            # a word without a flag is named in the message of cyclopts, which knows the argument later
            raise CoercionError(msg=expected if token.keyword else None, token=token, target_type=int)
    return convert(kind, tokens)


WORDS = Parameter(converter=_converted)
"""How every command reads the words of its flags."""


def parameter_help(documented: type) -> dict[str, str]:
    """Return the texts of the `:param name:` lines of a class and its parents, by name."""
    texts: dict[str, str] = {}
    for cls in reversed(documented.__mro__):
        name = None
        for line in (vars(cls).get("__doc__") or "").splitlines():
            line = line.strip()
            if line.startswith(":param "):
                name, _, text = line.removeprefix(":param ").partition(": ")
                texts[name] = text
            elif name and line and not line.startswith(":"):
                texts[name] += f" {line}"
            else:
                name = None
    return texts


def _flag(name: str, kind: Any, help: str, group: str = "Run") -> inspect.Parameter:
    """Return an optional flag: None where the user does not set it."""
    shown = Parameter(help=help, group=group, consume_multiple=True, negative_iterable=(), show_default=False)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, shown]
    )


def _kind(parameter: inspect.Parameter) -> Any:
    """Return the type of a hyper-parameter: its annotation, or the type of its default where it has none."""
    default, annotation = parameter.default, parameter.annotation
    if annotation is not parameter.empty:
        return list[int] if annotation == Sequence[int] else annotation
    if isinstance(default, list | tuple):
        kind: Any = type(default[0]) if default else str
        return list[kind]
    return str if default in (None, parameter.empty) else type(default)


def flags_of(
    name: str, of_command: dict[str, tuple[type, str]], without: Sequence[str] = ()
) -> tuple[list[str], list[str], inspect.Signature]:
    """Read the flags of a command on a model off the model's constructor and Settings.

    :param name: of the model
    :param of_command: the flags of the command itself: name -> (type, help text)
    :param without: settings that get no flag
    :return: (names of hyper-parameters, names of settings, the signature of all flags with those of the command)
    :raises RunError: if there is no such model, or a hyper-parameter is called like another flag
    """
    from inference import Settings  # imports torch

    cls, recipe = model_class(name), recipe_for(name)
    hyper, hints = constructor(cls), get_type_hints(Settings)
    defaults = {f.name: f.default for f in dataclasses.fields(Settings)} | (recipe.settings if recipe else {})
    defaults = {key: default for key, default in defaults.items() if key not in without}
    if clash := sorted(hyper.keys() & (defaults.keys() | of_command.keys())):
        raise RunError(f"{name}: the hyper-parameter {clash[0]} has the name of a flag of the command. Rename it.")
    of_model, of_settings = parameter_help(cls), parameter_help(Settings)
    signature = [_flag(flag, kind, text) for flag, (kind, text) in of_command.items()]
    for key, parameter in hyper.items():
        default = "required" if parameter.default is parameter.empty else parameter.default
        signature.append(_flag(key, _kind(parameter), f"{of_model.get(key, '')} [{default}]", "Model"))
    for key, default in defaults.items():
        signature.append(_flag(key, hints[key], f"{of_settings[key]} [{default}]", "Settings"))
    return list(hyper), list(defaults), inspect.Signature(signature)


def as_typed(flags: dict[str, Any]) -> str:
    """Return flags as they are typed: {"lr": 0.1, "shuffle": False} is "--lr 0.1 --no-shuffle"."""
    words: list[str] = []
    for key, value in flags.items():
        flag = key.replace("_", "-")
        values = value if isinstance(value, list) else [] if isinstance(value, bool) else [value]
        words += [f"--no-{flag}" if value is False else f"--{flag}", *map(str, values)]
    return shlex.join(words)
