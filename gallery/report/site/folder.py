"""A folder that is replaced as a whole: files are written to a staging folder first, then moved into place.

contents.txt lists the files that were written. Another build replaces these and no others. A folder that holds a file
outside the list is refused.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gallery.errors import RunError
from gallery.runs.folder import locked
from inference.files import is_temporary, make_folder, remove_temporaries, write_atomically, writing

__all__ = ["replaced"]

LIST, STAGE, LOCK = "contents.txt", ".building", ".building.lock"


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or path.is_file()}


def _listed(out: Path) -> set[str]:
    """Return the names of the files that an earlier build wrote into `out`.

    :raises RunError: if `out` is a file, or holds other files
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file, and the site needs a folder.")
    listed = set((out / LIST).read_text().splitlines()) | {LIST} if (out / LIST).is_file() else set()
    left = {path.name for path in out.glob(f".{LIST}.*") if is_temporary(path)} | {LOCK}  # by a build that was killed
    unlisted = {name for name in _files(out) - listed - left if not name.startswith(f"{STAGE}/")}
    unlisted |= {name for name in listed if (out / name).is_symlink()}
    if unlisted:
        raise RunError(
            f"{out} holds files that `gallery site` did not write ({min(unlisted)}). Choose a new or empty folder."
        )
    return listed


@contextmanager
def replaced(out: Path) -> Iterator[Path]:
    """Yield an empty folder whose files replace those of `out` at the end. On an error `out` is unchanged.

    :raises RunError: if `out` holds files that another program wrote, or another process writes into it
    :raises InferenceError: if it cannot be written
    """
    existed = out.is_dir()
    _listed(out)
    make_folder(out)
    try:
        with locked(out, LOCK):
            try:
                yield from _replaced(out)
            finally:
                shutil.rmtree(out / STAGE, ignore_errors=True)
                (out / LOCK).unlink(missing_ok=True)
    finally:
        if not existed and not any(out.iterdir()):
            out.rmdir()


def _replaced(out: Path) -> Iterator[Path]:
    """Yield the staging folder, and move its files into place afterwards; the lock is held."""
    listed = _listed(out)  # another build may have ended since
    with writing(out):
        remove_temporaries(out)
        shutil.rmtree(out / STAGE, ignore_errors=True)  # left by a build that was killed
        (out / STAGE).mkdir()
    yield out / STAGE
    with writing(out):
        new = _files(out / STAGE)
        write_atomically(out / LIST, "".join(f"{name}\n" for name in sorted(new | listed)).encode())
        for name in sorted(new, key=lambda name: name.endswith(".html")):  # pictures before the pages that show them
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / STAGE / name).replace(out / name)
        for name in (listed & _files(out)) - new - {LIST}:
            (out / name).unlink()
        write_atomically(out / LIST, "".join(f"{name}\n" for name in sorted(new)).encode())
        shutil.rmtree(out / STAGE)
        for folder in sorted((path for path in out.rglob("*") if path.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
