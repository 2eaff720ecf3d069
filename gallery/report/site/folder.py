"""A folder that is written whole: first beside what is there, under a name of its own, and then moved into place.

It keeps a list of what it wrote. Another build replaces that and nothing else; where a folder holds anything that is
not on the list, it is refused.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gallery.errors import RunError
from inference.files import write_atomically

LIST, STAGE = "contents.txt", ".building"


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or path.is_file()}


def _listed(out: Path) -> set[str]:
    """What a build before this one wrote into `out`.

    :raises RunError: if `out` is a file, or holds others
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file: choose a folder with --out DIR.")
    listed = set((out / LIST).read_text().splitlines()) | {LIST} if (out / LIST).is_file() else set()
    strange = {name for name in _files(out) - listed if not name.startswith(f"{STAGE}/")} if out.is_dir() else set()
    strange |= {name for name in listed if (out / name).is_symlink()}
    if strange:
        raise RunError(
            f"{out} holds files that `gallery site` did not write ({min(strange)}): choose an empty or new folder "
            "with --out DIR."
        )
    return listed


@contextmanager
def replaced(out: Path) -> Iterator[Path]:
    """An empty folder within `out`, whose files are at the end those of `out`; on an error `out` is as it was.

    :raises RunError: if `out` holds files of somebody else, or cannot be written
    """
    listed, existed = _listed(out), out.is_dir()
    try:
        shutil.rmtree(out / STAGE, ignore_errors=True)  # of a build that was killed
        (out / STAGE).mkdir(parents=True)
    except OSError as error:
        raise RunError(f"cannot write into {out}: {error.strerror}.") from error
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
