"""The files of a run.

run.json                the specification: model, keywords, data, settings, threads, versions
history.jsonl           a line for every epoch
checkpoint.safetensors  weights, optimiser, random generators and position, one atomic file
weights.safetensors     the fitted weights
metrics.json            the evaluation on test and training data
figures/                the figures
data.npz                the data of a fit in Python to arrays in memory, with the names of the columns of a DataFrame
draws.nc, sample.npz, onnx/, tensorboard/    exports and draws, where they were requested
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
from torch import Tensor

from gallery.errors import RunError
from gallery.runs.parse import HistoryLine, parse, read_json, renamed
from inference import InferenceError
from inference.files import is_regular, is_temporary, make_folder, remove_temporaries, write_atomically, writing
from inference.fit.checkpoint import load_tensors

__all__ = [
    "ARRAYS",
    "CHECKPOINT",
    "FIGURES",
    "FILES",
    "FOLDERS",
    "HISTORY",
    "METRICS",
    "SPECIFICATION",
    "WEIGHTS",
    "check_free",
    "clean",
    "clear",
    "copy_run",
    "history_hash",
    "locked",
    "read_history",
    "read_tensors",
    "read_weights",
    "undone_if_failed",
    "write_history",
    "write_metrics",
]

SPECIFICATION, HISTORY, METRICS = "run.json", "history.jsonl", "metrics.json"
CHECKPOINT, WEIGHTS = "checkpoint.safetensors", "weights.safetensors"
FIGURES, ARRAYS, LOCK = "figures", "data.npz", ".lock"
FILES = (
    METRICS,
    "draws.nc",
    "sample.npz",
    ARRAYS,
    WEIGHTS,
    CHECKPOINT,
    HISTORY,
)  # in the order of their removal; run.json is replaced
FOLDERS = (FIGURES, "tensorboard", "onnx")


@contextmanager
def locked(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Hold the lock of a folder.

    :param name: of the file of the lock
    :raises RunError: if another process holds it
    :raises InferenceError: if the folder cannot be written
    """
    lock = filelock.FileLock(folder / name, timeout=0)
    try:
        with writing(folder / name, "lock"):
            try:
                lock.acquire()
            except filelock.Timeout:  # an OSError too
                raise RunError(
                    f"{folder} is being written by another process.", "Wait for it, or choose another folder."
                ) from None
    except NotImplementedError as error:  # a file system without locks
        raise RunError(f"{folder} cannot be locked: {error}.", "Choose a folder on another disk.") from error
    try:
        yield
    finally:
        lock.release()


def check_free(folder: Path, overwrite: bool = False) -> None:
    """Check that a new run may be written into a folder.

    A folder that holds what a fit leaves which ended before its run.json was written is free.

    :raises RunError: if it is a file, holds a run (unless `overwrite`), or holds other files
    """
    try:
        names = {path.name for path in folder.iterdir() if not is_temporary(path)} - {LOCK}
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise RunError(f"{folder} is a file.", "Choose a folder.") from None
    except OSError as error:
        raise RunError(f"cannot read the folder {folder}: {error.strerror}.") from error
    if SPECIFICATION not in names and names - {*FILES, *FOLDERS}:
        raise RunError(f"{folder} holds other files.", "Choose an empty or new folder.")
    if overwrite or not names - {"tensorboard"}:
        return
    if SPECIFICATION in names:
        raise RunError(
            f"{folder} holds a run already. `gallery resume {folder}` continues it; another folder keeps it.",
            ("overwrite", "True"),
        )
    raise RunError(f"{folder} holds files of a run ({min(names)}) without its run.json.", ("overwrite", "True"))


def clear(folder: Path) -> None:
    """Delete the files of an earlier run but run.json, and what a killed write left; other files stay.

    The order of FILES leaves, after every file, a run that can be resumed.

    :raises InferenceError: if the system refuses
    """
    clean(folder)
    for name in FILES:
        with writing(folder / name, "remove"):
            (folder / name).unlink(missing_ok=True)
    for name in FOLDERS:
        with writing(folder / name, "remove"):
            if (folder / name).is_symlink():
                (folder / name).unlink()
            elif (folder / name).exists():
                shutil.rmtree(folder / name)


@contextmanager
def undone_if_failed(folder: Path, applies: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Remove what the block has written of a run if it fails; the lock is held. After an interrupt it stays.

    :param applies: returns whether to remove it, called at the failure
    """
    try:
        yield
    except Exception:
        if applies():
            with suppress(InferenceError):  # the failure is reported, not what follows from it
                clear(folder)
                (folder / SPECIFICATION).unlink(missing_ok=True)
        raise


def copy_run(source: Path, folder: Path, overwrite: bool = False) -> None:
    """Copy a run, and other files in its folder, into another folder.

    :param overwrite: replace a run that the folder holds
    :raises RunError: if the folder holds a run (unless `overwrite`) or other files
    :raises InferenceError: if it cannot be written; nothing of the copy stays then
    """
    check_free(folder, overwrite)
    if folder.resolve() == source.resolve():
        return
    make_folder(folder)
    with locked(folder), undone_if_failed(folder):
        check_free(folder, overwrite)
        clear(folder)
        for path in sorted(source.rglob("*")):
            if is_regular(path) and path.name != LOCK and not is_temporary(path):
                copy = folder / path.relative_to(source)
                make_folder(copy.parent)
                write_atomically(copy, path.read_bytes())


def clean(folder: Path) -> None:
    """Remove what a killed write left; the lock is held."""
    for part in (folder, folder / FIGURES, folder / "onnx"):
        if not part.is_symlink():
            remove_temporaries(part)


def read_history(folder: Path, epoch: int | None = None) -> list[dict[str, Any]]:
    """Return the lines of history.jsonl up to an epoch, the last one included; all of them if it is None.

    :raises RunError: if the file is damaged: no JSON, a field of another type, or an epoch is missing
    """
    path = folder / HISTORY
    if not path.exists():
        return []
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({' '.join(str(error).split())[:80]}); nothing was changed.") from error
    lines = []
    for number, text in enumerate(texts, start=1):
        line = read_json(path, text)
        parse(HistoryLine, line, f"{path}, line {number}: ")
        if line["epoch"] != number:
            raise RunError(f"{path} is damaged: line {number} is of epoch {line['epoch']}. Nothing was changed.")
        lines.append(line)
    return lines if epoch is None else lines[:epoch]


def history_hash(history: list[dict[str, Any]]) -> str:
    """Return the SHA-256 of the lines of a history."""
    return hashlib.sha256(_text_of(history)).hexdigest()


def _text_of(history: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in history).encode()


def write_history(folder: Path, history: list[dict[str, Any]]) -> None:
    """Write history.jsonl atomically."""
    write_atomically(folder / HISTORY, _text_of(history))


def write_metrics(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Write metrics.json atomically."""
    write_atomically(folder / METRICS, (json.dumps(metrics, indent=2) + "\n").encode())


def read_weights(folder: Path, identity: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the state dict of the fitted pair: the final weights, else those of the checkpoint.

    :param identity: of the run, as `Run.identity` returns it
    :raises InferenceError: if there is neither, or the file is damaged
    :raises RunError: if the file is of another run, or a value in it is not finite
    """
    path = folder / WEIGHTS if (folder / WEIGHTS).exists() else folder / CHECKPOINT
    tensors, _ = read_tensors(path, identity)
    if path.name == CHECKPOINT:
        tensors = {name.removeprefix("weights."): v for name, v in tensors.items() if name.startswith("weights.")}
    if broken := [name for name, value in tensors.items() if not value.isfinite().all()]:
        raise RunError(f"{path} is damaged ({broken[0]} is not finite); nothing was changed.")
    return tensors


def read_tensors(path: Path, identity: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (tensors, metadata) of a file of a run; one of version 0.1 does not name its run.

    :raises InferenceError: if it is missing or damaged
    :raises RunError: if it is of another run
    """
    tensors, about = load_tensors(path)
    if (other := renamed(about.pop("run", identity))) != identity:
        raise RunError(
            f"{path} is of another run than its run.json: {_difference(other, identity)}.",
            f"Restore run.json, or fit it anew: `gallery fit --from {path.parent / SPECIFICATION} --run NEW`.",
        )
    return tensors, about


def _difference(there: Any, here: Any, name: str = "") -> str:
    """Return the first field in which two specifications differ, with both values."""
    if not (isinstance(there, dict) and isinstance(here, dict)):
        shown = [json.dumps(value, default=repr)[:60] for value in (there, here)]
        return f"{name} is {shown[0]} there, and {shown[1]} here"
    key = next(key for key in (*here, *there) if key not in there or key not in here or there[key] != here[key])
    return _difference(there.get(key), here.get(key), f"{name}.{key}".lstrip("."))
