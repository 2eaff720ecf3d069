"""A folder that is replaced as a whole: files are written to a staging folder first, then moved into place.

contents.txt lists the files that were written. Another build replaces these and no others. A folder that holds a file
outside the list is refused.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gallery.errors import RunError
from inference.files import write_atomically

__all__ = ["replaced"]

LIST, STAGE = "contents.txt", ".building"


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or path.is_file()}


def _listed(out: Path) -> set[str]:
    """Return the names of the files that an earlier build wrote into `out`.

    :raises RunError: if `out` is a file, or holds other files
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file, and the site needs a folder: use --out DIR.")
    listed = set((out / LIST).read_text().splitlines()) | {LIST} if (out / LIST).is_file() else set()
    unlisted = {name for name in _files(out) - listed if not name.startswith(f"{STAGE}/")} if out.is_dir() else set()
    unlisted |= {name for name in listed if (out / name).is_symlink()}
    if unlisted:
        raise RunError(
            f"{out} holds files that `gallery site` did not write ({min(unlisted)}). Use --out DIR with a new or empty "
            "folder."
        )
    return listed


@contextmanager
def replaced(out: Path) -> Iterator[Path]:
    """Yield an empty folder whose files replace those of `out` at the end. On an error `out` is unchanged.

    :raises RunError: if `out` holds files that another program wrote, or cannot be written
    """
    listed, existed = _listed(out), out.is_dir()
    try:
        shutil.rmtree(out / STAGE, ignore_errors=True)  # left by a build that was killed
        (out / STAGE).mkdir(parents=True)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}. Use another folder with --out DIR.") from error
    try:
        yield out / STAGE
        new = _files(out / STAGE)
        write_atomically(out / LIST, "".join(f"{name}\n" for name in sorted(new | listed)).encode())
        for name in sorted(new, key=lambda name: name.endswith(".html")):  # pictures before the pages that show them
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / STAGE / name).replace(out / name)
        for name in (listed & _files(out)) - new - {LIST}:
            (out / name).unlink()
        write_atomically(out / LIST, "".join(f"{name}\n" for name in sorted(new)).encode())
    finally:
        shutil.rmtree(out / STAGE, ignore_errors=True)
        for folder in sorted((path for path in out.rglob("*") if path.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
        if not existed and not any(out.iterdir()):
            out.rmdir()
