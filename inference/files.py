"""Atomic files: each is complete, or not there."""

import os
import tempfile
from pathlib import Path

from inference.errors import InferenceError

__all__ = ["write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside `path` and move it there: a reader, also after a crash, has the previous file or the new one.

    :raises InferenceError: if it cannot be written (disk full, no permission); the previous file is kept
    """
    path = Path(path)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        kept = " The previous file is kept." if path.exists() else ""
        raise InferenceError(f"cannot write {path}: {error.strerror}.{kept}") from error
