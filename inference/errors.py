"""The error of this package."""


class InferenceError(ValueError):
    """A pair, data or settings that do not go together; the message is one line for the user."""
