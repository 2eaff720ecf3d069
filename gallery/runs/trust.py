"""Files of models that this user has fitted: only their code is executed because a run.json names it.

A run.json from elsewhere can name any file, also one inside the folder of the run. The files that this user has fitted
are noted outside of all runs, by path and hash, in $XDG_STATE_HOME/latent-gallery/fitted, or ~/.local/state without it.
The models of installed packages are not noted: who installs a package executes its code.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from gallery.errors import RunError
from inference import InferenceError
from inference.files import make_folder, write_atomically

__all__ = ["check_fitted", "content_of", "file_of", "note_fitted"]


def file_of(model: str) -> Path | None:
    """Return the file of a model that is named path/to/file.py:CLASS; None for a name of the registry."""
    path = model if model.endswith(".py") else model.rpartition(":")[0]
    return Path(path).expanduser().resolve() if path.endswith(".py") else None


def content_of(model: str) -> dict[str, str]:
    """Return the hash of the file of a model that is named path/to/file.py:CLASS; empty for a name of the registry."""
    file = file_of(model)
    return {} if file is None else {"content of the model's file": _hash(file)}


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _note_of(file: Path) -> Path:
    """Return the path of the note that a file, with its content now, has been fitted."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "latent-gallery" / "fitted" / hashlib.sha256(f"{file}\n{_hash(file)}".encode()).hexdigest()


def note_fitted(model: str) -> None:
    """Note the file of a model, if it has one, as fitted by this user; skip it where the note cannot be written."""
    if (file := file_of(model)) is not None:
        with suppress(OSError, RuntimeError, InferenceError):
            note = _note_of(file)
            make_folder(note.parent)
            write_atomically(note, f"{file}\n".encode())


def check_fitted(model: str, named_by: Path, trust: bool = False) -> None:
    """Check that the file of a model, if it has one, is one that this user has fitted.

    :param named_by: the run.json that names it
    :param trust: note the file as fitted instead
    :raises RunError: if it is another file, or has changed since
    """
    if trust:
        note_fitted(model)
        return
    file = file_of(model)
    if file is None or not file.is_file():  # a missing file is an error of the registry
        return
    try:
        known = _note_of(file).exists()
    except (OSError, RuntimeError) as error:
        raise RunError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}.") from error
    if not known:
        raise RunError(
            f"{named_by} names code, and it would be executed: {file}, which you have not fitted as it is now. "
            "Read it first.",
            ("trust", "True"),
        )
