"""Model classes by name: a model of the gallery, of an installed package, or of a user's file.

    model_class("vae")                       # gallery/models
    model_class("path/to/mine.py:Mine")      # a user's file
    model_class("theirs")                    # [project.entry-points."gallery.models"]  theirs = "package.module:Class"

During its import a user's file can import the modules beside it; the next file gets new ones. A `data.py` or
`inference.py` beside the file takes precedence over the package of that name while the file is imported. An error in
such a file becomes one line that names file and line.
"""

import functools
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from gallery.errors import RunError, unknown
from gallery.models import MODELS, registered_name

if TYPE_CHECKING:
    from inference import Pair

__all__ = ["constructor", "format_error", "installed", "line_of", "model_class", "name_of"]

_SHADOWED = ("data", "inference")  # packages of this project that give way to a module beside a user's file
_USER_FILES: set[str] = set()  # files of models from outside the gallery, and folders of such
_IN_MEMORY: dict[str, "type[Pair]"] = {}  # classes that were given to `name_of`
_BESIDE: set[str] = set()  # names of the modules that the last user's file imported from its folder


def installed() -> dict[str, EntryPoint]:
    """Return the models of installed packages by name, not loaded yet; names of the gallery take precedence."""
    return {point.name: point for point in entry_points(group="gallery.models") if point.name not in MODELS}


def model_class(name: str) -> "type[Pair]":
    """Return the class of that name, or CLASS of `path/to/file.py:CLASS`.

    :raises RunError: if there is none, it is not a pair of model and guide, or it cannot be imported
    """
    if name in MODELS:
        return MODELS[name]
    if name in _IN_MEMORY:
        return _IN_MEMORY[name]
    path, _, attribute = (name, "", "") if name.endswith(".py") else name.rpartition(":")
    if path.endswith(".py"):
        module = _module_of(Path(path).expanduser().resolve())
        if not hasattr(module, attribute):
            classes = [
                key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
            ]
            wrong = f"has no class {attribute}" if attribute else "is a file; a model is named path/to/file.py:CLASS"
            raise RunError(f"{path} {wrong}. Its classes: {', '.join(classes) or 'none'}.")
        return _pair(getattr(module, attribute), name)
    if point := installed().get(name):
        try:
            cls = point.load()
        except (Exception, SystemExit) as error:  # another package may raise anything
            raise RunError(f"{name}, {point.value}, cannot be loaded: {format_error(error)}.") from error
        _USER_FILES.add(inspect.getfile(_pair(cls, name)))
        return cls
    from gallery.catalogue.recipes import RECIPES

    if name in RECIPES:
        raise RunError(
            f"{name} is a recipe, and no model. `gallery fit {RECIPES[name].model}` takes it.", ("recipe", name)
        )
    raise unknown("model", name, MODELS.keys() | installed().keys())


def name_of(cls: type) -> str:
    """Return the name under which `model_class` finds a class from now on in this process.

    :raises RunError: if it is not a pair of model and guide
    """
    if (name := registered_name(cls)) is not None:
        return name
    name = cls.__name__
    with suppress(TypeError, OSError):  # a class of a notebook has no file
        if cls.__module__ != "__main__" and "." not in cls.__qualname__:
            name = f"{Path(inspect.getfile(cls)).resolve()}:{name}"
    _IN_MEMORY[name] = _pair(cls, cls.__name__)
    return name


def _pair(cls: Any, name: str) -> "type[Pair]":
    from torch import nn  # here, since `gallery list` needs no torch

    is_module = inspect.isclass(cls) and issubclass(cls, nn.Module)
    if not is_module:
        raise RunError(f"{name} is not a torch.nn.Module. Expected a subclass with the methods model and guide.")
    if missing := [part for part in ("model", "guide") if not callable(getattr(cls, part, None))]:
        written = "write `def guide(self, x, total=None): self.auto(x, total)`"
        raise RunError(
            f"{name} has no method {' and no method '.join(missing)}. A pair needs model and guide.",
            f"If an autoguide is to be the guide, {written}." if missing == ["guide"] else None,
        )
    return cast("type[Pair]", cls)


def _module_of(file: Path) -> ModuleType:
    if not file.is_file():
        raise RunError(
            f"there is no file {file}. A model of yours is named path/to/file.py:CLASS.",
            'If the file was moved after a run, put it back, or correct "model" in run.json.',
        )
    return _imported(str(file), file.stat().st_mtime_ns)


@functools.lru_cache
def _imported(path: str, changed: int) -> ModuleType:
    """Return the module of a file, executed again when it has changed. Its name is its path, so it hides no module."""
    folder = os.path.dirname(path)
    _USER_FILES.add(folder)
    hidden = [name for name in _SHADOWED if _lies_in(name, folder)]
    for name in hidden:
        importlib.import_module(name)  # the package of this project, before the folder comes first in sys.path
    try:
        return _execute(path, hidden)
    except (Exception, SystemExit) as error:
        if hidden and isinstance(error, (ImportError, AttributeError)):
            with suppress(Exception, SystemExit):
                return _execute(path, [])  # the file means the package of this project, not the module beside it
        remedy = "Rename gallery.py beside it: the package gallery hides it." if _lies_in("gallery", folder) else None
        raise RunError(f"{path} cannot be imported: {format_error(error)}.", remedy) from error


def _lies_in(name: str, folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, file)) for file in (f"{name}.py", os.path.join(name, "__init__.py")))


def _execute(path: str, hidden: list[str]) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path] = importlib.util.module_from_spec(spec)
    try:
        with _beside(os.path.dirname(path), hidden):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path]
        raise
    return module


@contextmanager
def _beside(folder: str, hidden: list[str]) -> Iterator[None]:
    """Make the modules of a folder importable; forget those of the folder before.

    :param hidden: packages of this project that the folder's modules replace meanwhile
    """
    _forget(_BESIDE)
    _BESIDE.clear()
    replaced = _forget(hidden)
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
        _forget(hidden)
        _BESIDE.difference_update(hidden)
        sys.modules.update(replaced)


def _forget(packages: Collection[str]) -> dict[str, ModuleType]:
    """Remove packages with their submodules from sys.modules; return what was removed."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in packages}


def format_error(error: BaseException) -> str:
    """Return type and message of the first cause of an error, with the line of the user's file, if it is in one."""
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    text = first.msg if isinstance(first, SyntaxError) else " ".join(str(first).split())
    text = text.partition(", but found invalid values")[0][:300]  # torch prints all of them
    place = line_of(error)
    return f"{type(first).__name__}{': ' * bool(text)}{text}{f' ({place})' if place else ''}"


def line_of(error: BaseException) -> str | None:
    """Return "file.py:12: the line", the last line in a user's file of the error or its causes; None without one."""
    line = line_of(error.__cause__) if error.__cause__ is not None else None
    if isinstance(error, SyntaxError) and error.filename and _is_user_file(error.filename):
        return f"{Path(error.filename).name}:{error.lineno}: {(error.text or '').strip()}"
    for frame in traceback.extract_tb(error.__traceback__):
        if _is_user_file(frame.filename):
            line = f"{Path(frame.filename).name}:{frame.lineno}: {frame.line}"
    return line


def _is_user_file(file: str) -> bool:
    return file in _USER_FILES or os.path.dirname(file) in _USER_FILES


def constructor(cls: "type[Pair]") -> dict[str, inspect.Parameter]:
    """Return the hyper-parameters of a model by name, including those that **kwargs passes to the parent class.

    :raises RunError: if an annotation among them is a name that is undefined
    """
    parameters: dict[str, inspect.Parameter] = {}
    for parent in cls.__mro__:
        if "__init__" not in vars(parent):
            continue
        try:
            declared = list(inspect.signature(vars(parent)["__init__"], eval_str=True).parameters.values())[1:]
        except NameError as error:
            raise RunError(f"a type among the hyper-parameters of {parent.__name__} is undefined: {error}.") from error
        parameters |= {p.name: p for p in declared if p.kind is p.POSITIONAL_OR_KEYWORD or p.kind is p.KEYWORD_ONLY}
        if not any(p.kind is p.VAR_KEYWORD for p in declared):
            break
    return parameters
