"""The training of a run: start, resume, load."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from gallery.errors import RunError
from gallery.runs.folder import (
    CHECKPOINT,
    METRICS,
    SPECIFICATION,
    check_free,
    clean,
    clear,
    locked,
    read_tensors,
    read_weights,
    undone_if_failed,
)
from gallery.runs.hashes import check_unchanged
from gallery.runs.loop import Training
from gallery.runs.prepare import naming_file, noise_of, prepare, print_summary
from gallery.runs.progress import ProgressListener
from gallery.runs.specification import Run
from gallery.runs.trust import note_fitted
from inference import Pair
from inference.files import make_folder, write_atomically
from inference.fit import distributed

__all__ = ["begun", "load", "resume", "start"]


def start(run: Run, folder: Path, overwrite: bool = False, listener: ProgressListener | None = None) -> dict[str, Any]:
    """Fit a run into a new folder; return its metrics.

    Everything that can be refused is refused before the folder exists, and a fit that fails before its first checkpoint
    after step 0 leaves no run. Of several processes, number 0 writes; the others return an empty dict.

    :param overwrite: replace a run that the folder holds
    :raises RunError: if the folder holds a run (unless `overwrite`) or other files, or if model, data and settings do
        not go together
    :raises InferenceError: if the loss is not finite
    """
    folder = Path(folder)
    if distributed.rank():
        splits = run.datasets()
        training = Training(run, prepare(run, splits), splits, folder, None)
        with noise_of(run):
            return training.run_to_end()
    check_free(folder, overwrite)
    splits = run.datasets()
    svi = prepare(run, splits)
    if listener:
        print_summary(run, splits)
    training = Training(run, svi, splits, folder, listener)
    with begun(training, overwrite), noise_of(run):
        return training.run_to_end()


@contextmanager
def begun(training: Training, overwrite: bool = False) -> Iterator[None]:
    """Hold the folder of a new run, with its run.json; if the block fails before a checkpoint, no run is left."""
    run, folder = training.run, training.folder
    assert folder is not None
    make_folder(folder)
    with locked(folder):
        check_free(folder, overwrite)  # another fit may have begun or ended here since
        clear(folder)
        with undone_if_failed(folder, lambda: not training.saved):
            note_fitted(run.model)
            write_atomically(folder / SPECIFICATION, run.to_json(training.splits).encode())
            yield


def resume(folder: Path, listener: ProgressListener | None = None, trust: bool = False) -> dict[str, Any]:
    """Continue a run from its checkpoint, to the bits of an uninterrupted run; return its metrics.

    :param trust: accept a model in a file that this user has not fitted
    :raises RunError: if there is no run, it is finished, its data have changed, or another process writes it
    :raises InferenceError: if the checkpoint is damaged
    """
    folder = Path(folder)
    run, data_hash = Run.from_json(folder / SPECIFICATION, trust)
    with locked(folder) if distributed.rank() == 0 else nullcontext():
        if (folder / METRICS).exists():
            raise RunError(f"{folder} is finished: nothing to resume. `gallery evaluate {folder}` evaluates it.")
        with naming_file(folder):
            splits = run.datasets()
        check_unchanged(folder, run.data, splits, "Restore the data.")
        if distributed.rank() == 0:
            clean(folder)
        run.set_threads()
        with naming_file(folder):
            svi = prepare(run, splits)
        if listener:
            print_summary(run, splits)
        training = Training(run, svi, splits, folder, listener)
        with noise_of(run):
            if (folder / CHECKPOINT).exists():
                training.restore(*read_tensors(folder / CHECKPOINT, run.identity(data_hash)))
            return training.run_to_end()


def load(folder: Path, trust: bool = False) -> tuple[Run, Pair]:
    """Return (run, fitted pair) of a folder: the final weights, or those of the checkpoint of an unfinished run.

    :param trust: accept a model in a file that this user has not fitted
    :raises RunError: if the folder holds no run, or its weights do not fit the model
    :raises InferenceError: if there are no weights yet
    """
    folder = Path(folder)
    run, data_hash = Run.from_json(folder / SPECIFICATION, trust)
    with naming_file(folder):
        pair = run.build()
    weights = read_weights(folder, run.identity(data_hash))
    try:
        pair.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(
            f"the weights in {folder} do not fit {run.model}, whose class may have changed since the fit. Restore the "
            "class, or fit it anew."
        ) from error
    return run, pair
