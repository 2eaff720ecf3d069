"""The error of a request that cannot be carried out."""

import difflib


class RunError(ValueError):
    """A request that cannot be carried out; the message is one line for the user."""


def unknown(kind: str, name: str, known, lists: str = "gallery list") -> RunError:
    """The error for a name that is not among `known`: the nearest one, and the command that lists them all."""
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return RunError(f"there is no {kind} {name!r}.{hint} `{lists}` names them all.")
