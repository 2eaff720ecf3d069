"""The error of a request that cannot be carried out."""

import difflib
from collections.abc import Iterable

__all__ = ["Remedy", "RunError", "unknown"]

Remedy = tuple[str, str] | str


class RunError(ValueError):
    """A request that cannot be carried out; one line for the user.

    :param message: what is wrong, expected and got, in full sentences
    :param remedy: a setting and its value, ``("device", "cpu")``, or a full sentence that states what to do.
        The command line writes the pair as a flag

    >>> print(RunError("There is no CUDA device.", ("device", "cpu")))
    There is no CUDA device. Use device="cpu".
    >>> print(RunError("The run exists.", ("overwrite", "True")))
    The run exists. Use overwrite=True.
    >>> print(RunError("x has no rows.", "Choose data that have rows."))
    x has no rows. Choose data that have rows.
    """

    def __init__(self, message: str, remedy: Remedy | None = None):
        self.message, self.remedy = message, remedy
        super().__init__(f"{message} {_sentence(remedy)}" if remedy else message)

    def __reduce__(self) -> tuple[type["RunError"], tuple[str, Remedy | None]]:
        return type(self), (self.message, self.remedy)


def _sentence(remedy: Remedy) -> str:
    if isinstance(remedy, str):
        return remedy
    setting, value = remedy
    written = value if _is_literal(value) else f'"{value}"'
    return f"Use {setting}={written}."


def _is_literal(value: str) -> bool:
    """Return whether the value is written without quotes: a number, True, False or None."""
    if value in ("True", "False", "None"):
        return True
    try:
        float(value)
    except ValueError:
        return False
    return True


def unknown(kind: str, name: str, known: Iterable[str], lists: str = "gallery list") -> RunError:
    """Return the error for a name that is not among `known`, with the nearest known name.

    :param kind: of the name, such as "model"
    :param lists: the command that lists all known names
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return RunError(f"there is no {kind} {name!r}.{hint}", f"`{lists}` lists all names.")
