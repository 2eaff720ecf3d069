"""The end of a run: final weights, metrics and figures."""

from pathlib import Path
from typing import Any

from data import Dataset
from gallery.runs.folder import (
    ARRAYS,
    FIGURES,
    SPECIFICATION,
    WEIGHTS,
    check_free,
    clear,
    locked,
    undone_if_failed,
    write_history,
    write_metrics,
)
from gallery.runs.metrics import evaluate_split
from gallery.runs.specification import Run
from gallery.runs.system import processor
from gallery.runs.trust import note_fitted
from inference import SVI
from inference.files import make_folder, write_atomically
from inference.fit.checkpoint import save_tensors
from inference.pairs.info import inspect_pair
from inference.pairs.run import arguments

__all__ = ["finish", "write_run"]


def finish(
    run: Run, svi: SVI, splits: dict[str, Dataset], folder: Path, history: list[dict[str, Any]], seconds: float
) -> dict[str, Any]:
    """Write weights, figures and, last, metrics.json; return the metrics.

    :param splits: train, test, and validation where it is kept apart
    :param history: the lines of history.jsonl
    :param seconds: of the training, without evaluation and checkpoints
    """
    from gallery.figures import draw

    train, test, seed = splits["train"], splits["test"], run.settings.seed
    save_tensors(folder / WEIGHTS, svi.pair.state_dict(), {"run": run.identity(train.hash)})
    info = inspect_pair(svi.pair, arguments(svi.pair, train.scored(), train.given))
    few = train if info.has_global_latent else train.head(len(test))  # all training data share a global latent
    metrics: dict[str, Any] = {
        "test": evaluate_split(svi.pair, test, seed=seed),
        "train": evaluate_split(svi.pair, few, seed=seed),
    }
    metrics["is_bound"] = "elbo" in metrics["test"]
    metrics |= {
        "seconds": round(seconds, 3),
        "steps_per_second": round(svi.steps / seconds, 2) if seconds else None,
        "epochs": svi.epoch,
        "steps": svi.steps,
        "device": str(svi.x.device),
        "processor": processor(),
        "products": svi.products,
        "data": run.data,
        "data_hash": train.hash,
    }
    if svi.convergence is not None:
        metrics["convergence"] = svi.convergence.summary()
    draw(svi.pair, splits, history, folder / FIGURES, seed)
    write_metrics(folder, metrics)
    return metrics


def write_run(
    run: Run,
    svi: SVI,
    splits: dict[str, Dataset],
    folder: Path,
    history: list[dict[str, Any]],
    seconds: float,
    overwrite: bool = False,
    arrays: bytes = b"",
) -> dict[str, Any]:
    """Write the run of a fit in memory, which `gallery evaluate` and the others read; return the metrics.

    For the other parameters see `finish`.

    :param overwrite: replace a run that the folder holds
    :param arrays: content of data.npz, the data of the run; none if empty
    :raises RunError: if the folder holds a run (unless `overwrite`) or other files
    """
    check_free(folder, overwrite)
    make_folder(folder)
    with locked(folder), undone_if_failed(folder):
        check_free(folder, overwrite)
        clear(folder)
        note_fitted(run.model)
        if arrays:
            write_atomically(folder / ARRAYS, arrays)
        write_atomically(folder / SPECIFICATION, run.to_json(splits).encode())
        write_history(folder, history)
        return finish(run, svi, splits, folder, history, seconds)
