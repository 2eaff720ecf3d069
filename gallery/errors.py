"""The error of a request that cannot be carried out."""

import difflib
from collections.abc import Iterable

__all__ = ["RunError", "unknown"]


class RunError(ValueError):
    """A request that cannot be carried out; the message is one line for the user.

    :param message: the error, with the expected and the actual value
    :param remedy: what to do: (setting, value), or a sentence
    """

    def __init__(self, message: str, remedy: tuple[str, str] | str | None = None) -> None:
        self.message, self.remedy = message, remedy
        if isinstance(remedy, tuple):
            setting, value = remedy
            remedy = f"Use {setting}={value!r}."
        super().__init__(f"{message} {remedy}" if remedy else message)


def unknown(kind: str, name: str, known: Iterable[str], lists: str = "gallery list") -> RunError:
    """Return the error for a name that is not among `known`: the nearest one, and the command that lists them all."""
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return RunError(f"there is no {kind} {name!r}.{hint} `{lists}` names them all.")
