"""Data sets of recipes that need files: they are not embedded, drawn, or installed with a package."""

__all__ = ["needs_files"]

NEEDED = ("mnist", "static_mnist", "jsb_chorales", "reuters")


def needs_files(data: str) -> bool:
    """Return whether the data of a recipe are read from files that are not installed.

    >>> needs_files("digits:threshold"), needs_files("nile"), needs_files("mnist:grey")
    (False, False, True)

    :param data: name of the set and its pixel transform
    """
    return data.partition(":")[0] in NEEDED
