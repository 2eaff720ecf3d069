"""Read what a pair offers beyond `model` and `guide`: declared capabilities and the contract's optional members.

A capability is declared in a class attribute, so that an attribute of the same name and another meaning is ignored:

    class DenoisingAutoencoder(nn.Module):
        capabilities = ("corrupt",)

The optional members of the contract (CONTRIBUTING.md, clause 9) are read by their name, and ignored if their type is
not the documented one.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

from torch import nn

from inference.pairs.pair import Pair

__all__ = ["CAPABILITIES", "bounds", "capability", "count", "declared", "exact", "lacking", "takes_nan"]

CAPABILITIES: dict[str, str] = {
    "corrupt": "corrupt(x, u, level) adds noise, denoise(x) removes it; attributes corruption, level",
    "classify": "classify(x): the probabilities of the classes of each data point, (n, classes)",
    "rho": "a number: the target of the mean activation of each unit of the code",
    "k": "an integer: how many units of a code are not zero",
    "temperature": "a buffer: the temperature of the relaxed latents, which a fit may lower",
    "missing_values": "True: entries of x that are NaN are missing, and the model masks them",
    "step_dim": "an integer: x is steps of that many entries; those after the end of a sequence are NaN, and masked",
    "topics": "topics(): the probabilities of the words of each topic, (topics, data_dim)",
    "least_squares": "least_squares(x, given) and design(given): the line beside that of the global site w",
}

BESIDE = {"corrupt": ("denoise", "corruption", "level"), "least_squares": ("design",)}
"""By capability: the further attributes that it needs."""


def declared(pair: Pair | type[Pair]) -> tuple[str, ...]:
    """Return the names in the class attribute `capabilities`; none if it is not a tuple or list of strings."""
    names = getattr(pair, "capabilities", ())
    return tuple(names) if isinstance(names, tuple | list) and all(isinstance(name, str) for name in names) else ()


def lacking(pair: Pair, name: str) -> list[str]:
    """Return the attributes of a capability that the pair does not have."""
    return [one for one in (name, *BESIDE.get(name, ())) if getattr(pair, one, None) is None]


def capability(pair: Pair, name: str) -> Any:
    """Return the attribute of a capability if the pair declares it and lacks none of its attributes, else None.

    :param name: a key of CAPABILITIES
    :raises KeyError: if there is no such capability
    """
    if name not in CAPABILITIES:
        raise KeyError(f"no capability {name!r}; expected one of {', '.join(CAPABILITIES)}")
    return getattr(pair, name) if name in declared(pair) and not lacking(pair, name) else None


def takes_nan(pair: Pair) -> bool:
    """Return whether the pair masks entries of x that are NaN: missing ones, or those after the end of a sequence."""
    return bool(capability(pair, "missing_values") or capability(pair, "step_dim"))


def exact(
    pair: Pair | type[Pair], name: Literal["log_evidence", "posterior", "coordinates", "e_step", "m_step"]
) -> Callable[..., Any] | None:
    """Return a method for what the model computes exactly; None if it has none of that name."""
    method = getattr(pair, name, None)
    return method if callable(method) and not isinstance(method, nn.Module) else None


def count(pair: Pair, name: Literal["classes", "missing", "given_dim", "total"]) -> int | None:
    """Return an integer that data have to agree with; None if the pair has no integer of that name."""
    value = getattr(pair, name, None)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def bounds(pair: Pair) -> tuple[float, float]:
    """Return the least and the greatest value that x may have; (-inf, inf) if the pair has no pair of numbers."""
    value = getattr(pair, "bounds", None)
    if isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(end, int | float) for end in value):
        return float(value[0]), float(value[1])
    return -math.inf, math.inf
