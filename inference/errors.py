"""The error of this package."""

__all__ = ["InferenceError"]


class InferenceError(ValueError):
    """A pair, data or settings that do not go together.

    :param message: one line: what is wrong, what was expected and what was given
    :param remedy: what to do: (setting, value), such as ("objective", "enum"), or a sentence
    """

    def __init__(self, message: str, remedy: tuple[str, str] | str | None = None):
        self.message, self.remedy = message, remedy
        sentence = f"Use {remedy[0]}={remedy[1]!r}." if isinstance(remedy, tuple) else remedy
        super().__init__(f"{message} {sentence}" if sentence else message)
