"""The files of a run.

run.json                the specification: model, keywords, data, settings, threads, versions
history.jsonl           a line for every epoch
checkpoint.safetensors  weights, optimiser, random generators and position, one atomic file
weights.safetensors     the fitted weights
metrics.json            the evaluation on test and training data
figures/                the figures
draws.nc, onnx/, tensorboard/    exports, where they were requested
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
from torch import Tensor

from gallery.errors import RunError
from inference.files import write_atomically
from inference.fit.checkpoint import load_tensors

__all__ = [
    "CHECKPOINT",
    "FIGURES",
    "FILES",
    "FOLDERS",
    "HISTORY",
    "METRICS",
    "SPECIFICATION",
    "WEIGHTS",
    "check_free",
    "clear",
    "create",
    "locked",
    "read_history",
    "read_weights",
    "write_history",
    "write_metrics",
]

SPECIFICATION, HISTORY, METRICS = "run.json", "history.jsonl", "metrics.json"
CHECKPOINT, WEIGHTS = "checkpoint.safetensors", "weights.safetensors"
FIGURES = "figures"
FILES = (SPECIFICATION, HISTORY, CHECKPOINT, WEIGHTS, METRICS, "draws.nc")
FOLDERS = (FIGURES, "tensorboard", "onnx")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder.

    :raises RunError: if another process holds it
    """
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise RunError(
            f"{folder} is being written by another process.", "Wait for it, or choose another folder."
        ) from None
    try:
        yield
    finally:
        lock.release()


def check_free(folder: Path, overwrite: bool = False) -> None:
    """Check that a new run may be written into a folder.

    :raises RunError: if it is a file, holds a run (unless `overwrite`), or holds other files
    """
    if folder.is_dir():
        if (folder / SPECIFICATION).exists():
            if not overwrite:
                raise RunError(
                    f"{folder} holds a run already. `gallery resume {folder}` continues it; another folder keeps it.",
                    ("overwrite", "True"),
                )
        elif any(path.name != ".lock" for path in folder.iterdir()):
            raise RunError(f"{folder} holds other files.", "Choose an empty or new folder.")
    elif folder.exists():
        raise RunError(f"{folder} is a file.", "Choose a folder.")


def create(folder: Path) -> None:
    """Create the folder of a run, with its parents.

    :raises RunError: if the system refuses
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {folder}: {error.strerror}.") from error


def clear(folder: Path) -> None:
    """Delete the files of an earlier run; other files stay."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    for name in FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)


def read_history(folder: Path, epoch: int) -> list[dict[str, Any]]:
    """Return the lines of history.jsonl up to an epoch, the last one included."""
    if not (folder / HISTORY).exists():
        return []
    lines = [json.loads(line) for line in (folder / HISTORY).read_text().splitlines()]
    return [line for line in lines if line["epoch"] <= epoch]


def write_history(folder: Path, history: list[dict[str, Any]]) -> None:
    """Write history.jsonl atomically."""
    write_atomically(folder / HISTORY, "".join(json.dumps(line) + "\n" for line in history).encode())


def write_metrics(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Write metrics.json atomically."""
    write_atomically(folder / METRICS, (json.dumps(metrics, indent=2) + "\n").encode())


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the state dict of the fitted pair: the final weights, else those of the checkpoint.

    :raises InferenceError: if there is neither, or the file is damaged
    """
    if (folder / WEIGHTS).exists():
        return load_tensors(folder / WEIGHTS)[0]
    tensors, _ = load_tensors(folder / CHECKPOINT)
    return {name.removeprefix("weights."): v for name, v in tensors.items() if name.startswith("weights.")}
