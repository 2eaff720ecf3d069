"""The errors of this package: one line that a user can act on."""

__all__ = ["InferenceError", "Remedy", "UserError"]

Remedy = tuple[str, str] | str


class UserError(ValueError):
    """An error of the user's request, in one line.

    >>> print(UserError("The bound has a discrete latent.", ("objective", "enum")))
    The bound has a discrete latent. Use objective="enum".
    >>> print(UserError("The loss is not finite.", ("lr", "0.001")))
    The loss is not finite. Use lr=0.001.
    >>> print(UserError("x has no rows.", "Choose data that have rows."))
    x has no rows. Choose data that have rows.

    :param message: what is wrong, expected and got, in full sentences
    :param remedy: a setting and its value, ``("objective", "enum")``, or a full sentence that states what to do.
        A command line writes the pair as a flag
    """

    def __init__(self, message: str, remedy: Remedy | None = None):
        self.message, self.remedy = message, remedy
        super().__init__(f"{message} {_sentence(remedy)}" if remedy else message)

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, Remedy | None]]:
        return type(self), (self.message, self.remedy)


class InferenceError(UserError):
    """A pair, data or settings that do not go together. It is a `ValueError`, and its message is one line.

    >>> from inference import InferenceError, Settings
    >>> try:
    ...     Settings(lr=0.0)
    ... except InferenceError as error:
    ...     print(error)
    lr must be positive and finite, not 0.0.

    :param message: what is wrong, expected and got, in full sentences
    :param remedy: a setting and its value, or a full sentence that states what to do; None if the message does
    """


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
