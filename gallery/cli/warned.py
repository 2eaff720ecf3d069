"""Warnings on the command line: each once, and those of the gallery itself as one line without a place."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["warned_once"]

ROOT = Path(__file__).parents[2]
OWN = tuple(f"{ROOT / package}{os.sep}" for package in ("gallery", "inference", "data"))


@contextmanager
def warned_once() -> Iterator[None]:
    """Show each warning once in a block, and those of the gallery as "gallery: ..." on one line.

    Python shows a warning again whenever a filter has changed in between.
    """
    seen: set[str] = set()
    with_place = warnings.formatwarning

    def formatted(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if category is UserWarning and filename.startswith(OWN):
            return f"gallery: {message}\n"
        return with_place(message, category, filename, lineno, line)

    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_once(message: Warning | str, *where: Any, **more: Any) -> None:
            if str(message) not in seen:
                seen.add(str(message))
                show(message, *where, **more)

        warnings.showwarning, warnings.formatwarning = show_once, formatted
        try:
            yield
        finally:
            warnings.formatwarning = with_place
