"""The error of this package."""

__all__ = ["InferenceError"]


class InferenceError(ValueError):
    """A pair, data or settings that do not go together; the message is one line for the user.

    :param message: the error, with the expected and the actual value
    :param remedy: what to do: (setting, value), or a sentence
    """

    def __init__(self, message: str, remedy: tuple[str, str] | str | None = None) -> None:
        self.message, self.remedy = message, remedy
        if isinstance(remedy, tuple):
            setting, value = remedy
            remedy = f"Use {setting}={value!r}."
        super().__init__(f"{message} {remedy}" if remedy else message)
