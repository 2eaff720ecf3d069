"""The class of a model by its name: one of the gallery's, one that an installed package adds, or one in a file.

    model_class("vae")                       # gallery/models
    model_class("path/to/mine.py:Mine")      # a file of one's own
    model_class("theirs")                    # [project.entry-points."gallery.models"]  theirs = "package.module:Class"

A file of one's own imports what lies beside it, when it is imported itself, and has such modules to itself. What lies
there is hidden by what was imported before under its name, as the gallery's own `data` is.
What goes wrong in the code of others is said in one line that names the file and the line.
"""

import functools
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from gallery.errors import RunError, unknown
from gallery.models import MODELS

OWN = ("data", "gallery", "inference")  # the packages of this project
_OTHERS: set[str] = set()  # files of models that are not the gallery's, and folders of such
_BESIDE: set[str] = set()  # names of the modules that the last file of one's own has beside it


def installed() -> dict[str, EntryPoint]:
    """The models of installed packages by name, not loaded yet; the gallery's own names stay the gallery's."""
    return {point.name: point for point in entry_points(group="gallery.models") if point.name not in MODELS}


def model_class(name: str) -> type[nn.Module]:
    """The class of that name, or CLASS of `path/to/file.py:CLASS`.

    :raises RunError: if there is none, or it is no pair, or it cannot be imported
    """
    if name in MODELS:
        return MODELS[name]
    path, _, attribute = (name, "", "") if name.endswith(".py") else name.rpartition(":")
    if path.endswith(".py"):
        module = _module_of(Path(path).expanduser().resolve())
        if not hasattr(module, attribute):
            classes = [
                key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
            ]
            wanted = f"has no class {attribute}" if attribute else f"is a file, and a model a class in it, {path}:CLASS"
            raise RunError(f"{path} {wanted}: it has {', '.join(classes) or 'none at all'}.")
        return _pair(getattr(module, attribute), name)
    if point := installed().get(name):
        try:
            cls = point.load()
        except (Exception, SystemExit) as error:  # whatever another package does
            raise RunError(f"{name}, {point.value}, cannot be loaded: {in_words(error)}") from error
        _OTHERS.add(inspect.getfile(_pair(cls, name)))
        return cls
    from gallery.catalogue.recipes import RECIPES

    if name in RECIPES:
        raise RunError(f"{name} is a recipe, and no model: `gallery fit {RECIPES[name].model} --recipe {name}`.")
    raise unknown("model", name, MODELS.keys() | installed().keys())


def _pair(cls: Any, name: str) -> type[nn.Module]:
    if not (inspect.isclass(cls) and issubclass(cls, nn.Module)):
        raise RunError(f"{name} is not a torch.nn.Module: a model is a class of that kind, with model and guide.")
    if missing := [part for part in ("model", "guide") if not callable(getattr(cls, part, None))]:
        raise RunError(f"{name} has no method {' and no method '.join(missing)}: a pair needs both, model and guide.")
    return cls


def _module_of(file: Path) -> ModuleType:
    if not file.is_file():
        raise RunError(
            f"there is no file {file}: a model of your own is named path/to/file.py:CLASS. If it was moved after a "
            'run, put it back, or correct "model" in run.json.'
        )
    return _imported(str(file), file.stat().st_mtime_ns)


@functools.lru_cache
def _imported(path: str, changed: int) -> ModuleType:
    """The module of a file, run again when it has changed; known by its path, so that it hides no other module."""
    spec = importlib.util.spec_from_file_location(path, path)
    module = sys.modules[path] = importlib.util.module_from_spec(spec)
    folder = os.path.dirname(path)
    _OTHERS.add(folder)
    try:
        with _beside(folder):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[path]
        hidden = [name for name in OWN if os.path.exists(os.path.join(folder, f"{name}.py"))]
        hint = f" ({hidden[0]}.py beside it is hidden by a package of the gallery: rename it.)" if hidden else ""
        raise RunError(f"{path} cannot be imported: {in_words(error)}{hint}") from error
    return module


@contextmanager
def _beside(folder: str) -> Iterator[None]:
    """Modules in the folder can be imported meanwhile; those that the file before had beside it are forgotten."""
    for name in [name for name in sys.modules if name.partition(".")[0] in _BESIDE]:
        del sys.modules[name]
    _BESIDE.clear()
    before = set(sys.modules)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
        for name in sys.modules.keys() - before:
            spec = getattr(sys.modules[name], "__spec__", None)
            places = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec else []
            if "." not in name and folder in map(os.path.dirname, places):
                _BESIDE.add(name)


def in_words(error: BaseException) -> str:
    """What was raised first, and the last line in the file of a model that is not the gallery's, if it is of one."""
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    text = first.msg if isinstance(first, SyntaxError) else " ".join(str(first).split())
    text = text.partition(", but found invalid values")[0][:300]  # torch shows them all
    place = line_of(error)
    return f"{type(first).__name__}: {text}{f' ({place})' if place else ''}"


def line_of(error: BaseException) -> str | None:
    """ "file.py:12: the line", the last in the file of a model that is not the gallery's, of what was raised or what
    caused it; None where none is of one."""
    found = line_of(error.__cause__) if error.__cause__ is not None else None
    if isinstance(error, SyntaxError) and _is_others(error.filename or ""):
        return f"{Path(error.filename).name}:{error.lineno}: {(error.text or '').strip()}"
    for frame in traceback.extract_tb(error.__traceback__):
        if _is_others(frame.filename):
            found = f"{Path(frame.filename).name}:{frame.lineno}: {frame.line}"
    return found


def _is_others(file: str) -> bool:
    return file in _OTHERS or os.path.dirname(file) in _OTHERS


def constructor(cls: type[nn.Module]) -> dict[str, inspect.Parameter]:
    """The hyper-parameters of a model by name, those that a **kwargs hands on to the parent class included.

    :raises RunError: if the type of one is written as a name that is not known when the model is run
    """
    found: dict[str, inspect.Parameter] = {}
    for parent in cls.__mro__:
        if "__init__" not in vars(parent):
            continue
        try:
            own = list(inspect.signature(parent.__init__, eval_str=True).parameters.values())[1:]
        except NameError as error:
            raise RunError(f"a type among the hyper-parameters of {parent.__name__} is not known: {error}.") from error
        found |= {p.name: p for p in own if p.kind is p.POSITIONAL_OR_KEYWORD or p.kind is p.KEYWORD_ONLY}
        if not any(p.kind is p.VAR_KEYWORD for p in own):
            break
    return found
