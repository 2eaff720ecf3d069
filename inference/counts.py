"""Arguments that are numbers of draws, steps or rows."""

from numbers import Integral

from inference.errors import InferenceError

__all__ = ["whole_number"]


def whole_number(value: object, name: str, least: int = 1) -> int:
    """Return an integer of Python or NumPy as one of Python.

    >>> whole_number(3, "draws")
    3
    >>> try:
    ...     whole_number(2.5, "draws")
    ... except InferenceError as error:
    ...     print(error)
    draws is 2.5; expected an integer from 1 on.

    :param name: of the argument, for the message
    :raises InferenceError: if it is no integer, or less than `least`
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise InferenceError(f"{name} is {value!r}; expected an integer from {least} on.")
    return int(value)
