"""Atomic files: each is complete, or not there. A write that the system refuses is an error of one line."""

import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from inference.errors import InferenceError

__all__ = ["is_regular", "is_temporary", "make_folder", "remove_temporaries", "write_atomically", "writing"]

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}")  # what `write_atomically` writes before it is complete
_ELSEWHERE = "Choose a folder that can be written."
_REMEDIES = {
    errno.ENOSPC: "Make room on the disk.",
    errno.EDQUOT: "Make room on the disk.",
    errno.EROFS: _ELSEWHERE,
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f).",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}


@contextmanager
def writing(path: Path, action: str = "write") -> Iterator[None]:
    """Turn an OSError of the block into an error that names the file and the cause.

    >>> from pathlib import Path
    >>> with writing(Path("a/b")):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    inference.errors.InferenceError: cannot write a/b: No space left on device. Make room on the disk.

    :param action: what is done to the file
    :raises InferenceError: if the system refuses
    """
    try:
        yield
    except OSError as error:
        name = str(path) if len(str(path)) < 300 else f"{str(path)[:300]}..."
        kept = " The previous file is kept." if action == "write" and is_regular(path) else ""
        message = f"cannot {action} {name}: {error.strerror or error}.{kept}"
        raise InferenceError(message, _REMEDIES.get(error.errno or 0)) from error


def is_regular(path: Path) -> bool:
    """Return whether a path is a file, and no link, device or folder."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside `path` and move it there: a reader, also after a crash, has the previous file or the new one.

    :raises InferenceError: if it cannot be written (disk full, no permission, too large); the previous file is kept
    """
    path = Path(path)
    temporary = None
    with writing(path):
        if path.exists() and not path.is_file():  # a device such as /dev/full would be replaced
            raise OSError(errno.EEXIST, "it is there, and is no file")
        try:
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
                temporary = Path(file.name)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            if temporary is not None:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
            raise


def make_folder(folder: Path) -> None:
    """Create a folder, with its parents; nothing happens if it is there.

    :raises InferenceError: if the system refuses
    """
    with writing(folder, "make the folder"):
        Path(folder).mkdir(parents=True, exist_ok=True)


def is_temporary(path: Path) -> bool:
    """Return whether a file has the name that `write_atomically` gives to a file which is not complete."""
    return _TEMPORARY.fullmatch(path.name) is not None and is_regular(path)


def remove_temporaries(folder: Path) -> None:
    """Remove the files that a killed `write_atomically` left in a folder; no other process may write into it now."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_temporary(path):
            with writing(path, "remove"):
                path.unlink(missing_ok=True)
