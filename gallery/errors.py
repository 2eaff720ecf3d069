"""The error of a request that cannot be carried out."""

import difflib
from collections.abc import Iterable

from inference.errors import UserError

__all__ = ["RunError", "unknown"]


class RunError(UserError):
    """A request that cannot be carried out.

    >>> print(RunError("The run exists.", ("overwrite", "True")))
    The run exists. Use overwrite=True.
    """


def unknown(kind: str, name: str, known: Iterable[str], lists: str = "gallery list") -> RunError:
    """Return the error for a name that is not among `known`, with the nearest known name.

    :param kind: of the name, such as "model"
    :param lists: the command that lists all known names
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return RunError(f"there is no {kind} {name!r}.{hint}", f"`{lists}` lists all names.")
