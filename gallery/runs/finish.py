"""The end of a run: final weights, metrics and figures."""

from pathlib import Path
from typing import Any

from data import Dataset
from gallery.runs.folder import FIGURES, WEIGHTS, write_metrics
from gallery.runs.metrics import evaluate_split
from gallery.runs.specification import Run
from gallery.runs.system import processor
from inference import SVI
from inference.fit.checkpoint import save_tensors
from inference.pairs.info import inspect_pair
from inference.pairs.run import arguments

__all__ = ["finish"]


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
        "epochs": run.settings.epochs,
        "steps": svi.steps,
        "device": str(svi.x.device),
        "processor": processor(),
        "products": svi.products,
        "data": run.data,
        "data_hash": train.hash,
    }
    draw(svi.pair, splits, history, folder / FIGURES, seed)
    write_metrics(folder, metrics)
    return metrics
