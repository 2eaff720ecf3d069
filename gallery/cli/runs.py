"""The commands on a fitted run: `gallery resume`, `evaluate`, `summary`, `sample` and `export`."""

import inspect
import io
import json
import sys
from pathlib import Path
from typing import Any, Literal

import torch

import data as data_sets
from gallery.cli.fit import print_run, train
from gallery.errors import RunError
from gallery.runs import training
from gallery.runs.folder import METRICS
from gallery.runs.hashes import check_unchanged
from gallery.runs.memory import check_bytes
from gallery.runs.metrics import evaluate_split
from gallery.runs.prepare import naming_file
from gallery.runs.report import READING, metrics_table
from gallery.runs.specification import Run
from gallery.runs.summary import summarise
from gallery.runs.table import file_name
from inference import Pair
from inference import sample as draw_samples
from inference.evaluation.log_weights import MAX_ROWS
from inference.files import make_folder, write_atomically
from inference.pairs.data_checks import check_scored

DRAWN = 4  # arrays of the size of x among the draws, about

__all__ = ["evaluate", "export", "resume", "sample", "summary"]


def resume(run: Path, /, *, trust: bool = False) -> None:
    """Continue an interrupted run from its checkpoint.

    :param run: Folder of the run.
    :param trust: Execute the file that run.json names, also if you have not fitted it.
    """
    logs = run / "tensorboard"
    print_run(run, train(lambda listener: training.resume(run, listener, trust), logs if logs.is_dir() else None))


def _state_if_unfinished(folder: Path) -> None:
    """Print a line if a run is unfinished."""
    if not (folder / METRICS).exists():
        message = f"{folder} is unfinished, with the weights of its checkpoint. `gallery resume {folder}` continues it."
        print(f"gallery: {message}", file=sys.stderr)


def evaluate(
    run: Path,
    /,
    *,
    data: str | None = None,
    split: str = "test",
    particles: int = 16,
    at_a_time: int = MAX_ROWS,
    fivo: bool = False,
    kl_parts: bool = False,
    as_json: bool = False,
    trust: bool = False,
) -> None:
    """Evaluate a fitted run: bounds with their standard errors, KL, active units.

    :param run: Folder of the run.
    :param data: Data set and pixel transform, or a file [those of the run].
    :param split: train, validation, test or all.
    :param particles: Number of draws of the guide for each data point, which is also the k of IWAE-k.
    :param at_a_time: Rows (data points times draws) that are evaluated together. Fewer rows need less memory.
    :param fivo: Add the bound of a particle filter with as many particles, for sequences with a latent at each step.
    :param kl_parts: Add what the KL of the codes consists of: their information about the index of the row, the total
        correlation of their coordinates, and the KL of each coordinate over all rows.
    :param as_json: Print JSON instead of text.
    :param trust: Execute the file that run.json names, also if you have not fitted it.
    """
    if at_a_time < 1 or particles < 1:
        raise RunError(f"--particles and --at-a-time must be at least 1, not {particles} and {at_a_time}.")
    spec, pair = training.load(run, trust)
    dataset = _dataset(run, spec, pair, data, split)
    check_bytes(f"{particles} log-weights of {len(dataset)} data points", 8 * particles * len(dataset), "--particles")
    metrics = evaluate_split(pair, dataset, particles, at_a_time, spec.settings.seed, fivo, kl_parts)
    if as_json:
        print(json.dumps({split: metrics, "data": dataset.name}, indent=2))
    else:
        print(*metrics_table(metrics, Path(spec.model).name, file_name(dataset.name), split), READING, sep="\n")
    _state_if_unfinished(run)


def summary(run: Path, /, *, as_json: bool = False, seed: int = 0, trust: bool = False) -> None:
    """Print the latents of a fitted run: mean, standard deviation, quantiles, and the truth where it is known.

    A truth is known of latents that all data share, where the data are synthetic: line, logistic, loaded_die. The
    latents of single data points are summarised over all rows, so that no row of the table has one truth.

    :param run: Folder of the run.
    :param as_json: Print JSON instead of text.
    :param seed: Of the draws of the guide.
    :param trust: Execute the file that run.json names, also if you have not fitted it.
    """
    _check_seed(seed)
    spec, pair = training.load(run, trust)
    _dataset(run, spec, pair, None, "test")  # refuses data that have changed
    table = summarise(pair, spec.datasets(), seed)
    print(json.dumps({"latents": table.heading, "rows": table}, indent=2) if as_json else table)
    _state_if_unfinished(run)


def sample(run: Path, /, *, n: int = 64, out: Path | None = None, seed: int = 0, trust: bool = False) -> None:
    """Draw samples from a fitted model: a figure of pictures, or arrays in an .npz file.

    :param run: Folder of the run.
    :param n: Number of draws.
    :param out: A .png file for a figure or an .npz file for arrays [a figure of
        pictures, else RUN/sample.npz].
    :param seed: Of the draws.
    :param trust: Execute the file that run.json names, also if you have not fitted it.
    """
    import numpy as np

    from gallery.figures import samples, save

    spec, pair = training.load(run, trust)
    dataset = _dataset(run, spec, pair, None, "test")
    check_bytes(f"{n} draws of {dataset.x.shape[1]} values", 4 * n * dataset.x[0].numel() * DRAWN, "--n")
    _check_seed(seed)
    if out is None:
        out = run / "figures" / "sample.png" if dataset.is_image else run / "sample.npz"
        make_folder(out.parent)
    if out.suffix not in (".npz", ".png"):
        raise RunError(f"--out must end in .npz or .png, and {out} does not.")
    if not out.parent.is_dir():
        raise RunError(f"there is no folder {out.parent}: make it first.")
    if out.suffix == ".png" and dataset.is_image:
        save(samples(pair, dataset, n, seed), out)
    elif out.suffix == ".png":
        raise RunError(f"{spec.data} has no pictures: use --out FILE.npz.")
    else:
        conditional = "given" in inspect.signature(pair.model).parameters
        given = dataset.given if conditional else None
        if given is not None:
            given = given[torch.arange(n) % len(dataset)]
        draws = draw_samples(pair, dataset.x, n, given, seed)
        extra = {} if given is None else {"given": given}
        arrays: dict[str, Any] = {name: value.cpu().numpy() for name, value in (draws | extra).items()}
        content = io.BytesIO()
        np.savez(content, **arrays)
        write_atomically(out, content.getvalue())
        print(", ".join(f"{name} {tuple(value.shape)}" for name, value in arrays.items()))
        if "mean" not in draws:
            print("mean is left out: the likelihood has none that is finite and known", file=sys.stderr)
    print(out)
    _state_if_unfinished(run)


def export(
    run: Path,
    /,
    *,
    to: Literal["arviz", "onnx"],
    out: Path | None = None,
    data: str | None = None,
    split: str = "test",
    n: int = 100,
    draws: int = 200,
    seed: int = 0,
    trust: bool = False,
) -> None:
    """Write a fitted run for other programs: its draws for ArviZ, or its encoder and decoder as ONNX.

    :param run: Folder of the run.
    :param to: arviz: draws of the guide, their log-likelihoods and new data in a NetCDF file. onnx: the two networks.
    :param out: The NetCDF file [RUN/draws.nc], or the folder of the networks [RUN/onnx].
    :param data: Data set and pixel transform, or a file [those of the run].
    :param split: train, validation, test or all.
    :param n: Number of data points whose latents are drawn, or on which the networks are checked.
    :param draws: Draws of the guide for each data point, in ArviZ's file.
    :param seed: Of the draws.
    :param trust: Execute the file that run.json names, also if you have not fitted it.
    """
    from gallery.report.export import export as write_export

    _check_seed(seed)
    spec, pair = training.load(run, trust)
    dataset = _dataset(run, spec, pair, data, split).head(n)
    for line in write_export(run, spec, pair, dataset, to, out, draws, seed):
        print(line)
    _state_if_unfinished(run)


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**63:
        raise RunError(f"--seed must be at least 0 and below 2**63, not {seed}.")


def _dataset(folder: Path, spec: Run, pair: Pair, name: str | None, split: str) -> data_sets.Dataset:
    """Return a split of the run's data, or of the data set `name`, validated against the pair.

    :raises RunError: if its rows have another length than those that the run was fitted to, or the user's file has
        changed since
    """
    if name is None and data_sets.is_file(spec.data):
        with naming_file(folder):
            splits = spec.datasets()
        other = f"take them as other data: `gallery evaluate {folder} --data {spec.data}`"
        check_unchanged(folder, spec.data, splits, f"Restore them, or {other}.")
    dataset = spec.load(split, name)
    if "data_dim" in spec.keywords and dataset.x.shape[1] != spec.keywords["data_dim"]:
        fitted = spec.keywords["data_dim"]
        raise RunError(f"{dataset.name} has rows of {dataset.x.shape[1]} values; the run was fitted to {fitted}.")
    if name is not None:
        check_scored(pair, dataset.scored(), dataset.given)
    return dataset
