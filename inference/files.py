"""Files that are whole or not there."""

import os
import tempfile
from pathlib import Path

from inference.errors import InferenceError


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file beside `path` and moves it there: a reader, or a crash, sees the old file or the new one.

    :raises InferenceError: if it cannot be written (disk full, no permission); the old file is untouched
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
        kept = "the previous one is kept; " if path.exists() else ""
        raise InferenceError(f"cannot write {path}: {error.strerror}; {kept}make room and resume.") from error
