"""Detection of other modules called data, inference or gallery.

Files and packages of others use these names too, and Python imports the first that it finds. The three packages
execute this file by its path, since `data` itself may be another module.
"""

import importlib.util
import os
import sys
import warnings
from collections.abc import Sequence

__all__ = ["check_names"]

_ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def check_names(names: Sequence[str], needed: bool) -> None:
    """Check that the names lead to the packages of this project.

    A folder without Python files, such as `data/` with tables, gives way to the package where that is needed.

    :param needed: whether the caller imports these packages; if not, another module of the name is only warned of
    :raises ImportError: if a name is needed and leads elsewhere
    """
    for name in names:
        path = _other(name)
        if path is None:
            continue
        if os.path.isdir(path) and not any(file.endswith(".py") for file in os.listdir(path)):
            if needed:
                _import_own(name)
            continue
        message = f"{path} hides the package {name!r} beside the gallery in {_ROOT}. Rename or move {path}."
        if needed:
            raise ImportError(message, name=name, path=path)
        warnings.warn(message, stacklevel=2)


def _other(name: str) -> str | None:
    """Return the path that `import name` leads to; None for the package of this project, or for nothing."""
    module = sys.modules.get(name)
    spec = importlib.util.find_spec(name) if module is None else module.__spec__
    path = getattr(module, "__file__", None) or (spec.origin if spec else None)
    if path is None:  # a folder without __init__.py
        folders = list((spec.submodule_search_locations if spec else None) or [])
        return os.path.abspath(folders[0]) if folders else None
    own = os.path.join(_ROOT, name, "__init__.py")
    return None if os.path.realpath(path) == own else os.path.abspath(path)


def _import_own(name: str) -> None:
    folder = os.path.join(_ROOT, name)
    file = os.path.join(folder, "__init__.py")
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[folder])
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
