"""The error of this package."""

__all__ = ["InferenceError"]


class InferenceError(ValueError):
    """A pair, data or settings that do not go together; one line for the user.

    :param message: what is wrong, expected and got, in full sentences
    :param remedy: a setting and its value, ``("objective", "enum")``, or a full sentence that states what to do

    >>> print(InferenceError("The bound has a discrete latent.", ("objective", "enum")))
    The bound has a discrete latent. Use objective="enum".
    >>> print(InferenceError("The loss is not finite.", ("lr", "0.001")))
    The loss is not finite. Use lr=0.001.
    >>> print(InferenceError("x has no rows.", "Choose data that have rows."))
    x has no rows. Choose data that have rows.
    """

    def __init__(self, message: str, remedy: tuple[str, str] | str | None = None):
        self.message, self.remedy = message, remedy
        super().__init__(f"{message} {_sentence(remedy)}" if remedy else message)

    def __reduce__(self) -> tuple[type["InferenceError"], tuple[str, tuple[str, str] | str | None]]:
        return type(self), (self.message, self.remedy)


def _sentence(remedy: tuple[str, str] | str) -> str:
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
