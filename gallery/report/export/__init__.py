"""A fitted pair for other programs: its draws as ArviZ reads them, its two networks as ONNX.

arviz.py     posterior draws, log-likelihood and posterior predictive in one NetCDF file
networks.py  encoder and decoder as functions of tensors
onnx.py      both as ONNX, checked against torch before they are kept

The first and the last need packages that the gallery does without: they are imported when they are asked for.
"""

from importlib.util import find_spec
from pathlib import Path

from torch import nn

from data import Dataset
from gallery.errors import RunError
from gallery.runs.specification import Run

NEEDS = {
    "arviz": ("arviz", "xarray", "h5netcdf"),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "tensorboard": ("tensorboard",),
}


def need(extra: str, what: str) -> None:
    """:raises RunError: if a package is not installed that `what` needs and the extra would install"""
    for package in NEEDS[extra]:
        if find_spec(package) is None:
            raise RunError(f"{what} needs {package}, which is not installed: pip install latent-gallery[{extra}]")


def export(
    folder: Path, run: Run, pair: nn.Module, dataset: Dataset, to: str, out: Path | None, draws: int, seed: int
) -> list[str]:
    """Writes what `gallery export` is asked for; returns what is to be said: the files, and what there is none of.

    :raises RunError: if packages are missing, there is nothing to write, or the file would not be what it should be
    """
    need(to, f"--to {to}")
    if not len(dataset):
        raise RunError("--n is at least 1.")
    out = out or folder / ("draws.nc" if to == "arviz" else "onnx")
    if not out.parent.is_dir():
        raise RunError(f"there is no folder {out.parent}: make it first.")
    if to == "arviz":
        from gallery.report.export.arviz import write

        if out.suffix != ".nc":
            raise RunError(f"--out is a NetCDF file and ends in .nc, and {out} does not.")
        return [str(write(run, pair, dataset, out, draws, seed))]
    from gallery.report.export.onnx import write

    if out.exists() and not out.is_dir():
        raise RunError(f"--out is the folder of encoder.onnx and decoder.onnx, and {out} is a file.")
    paths, reasons = write(run, pair, dataset, out)
    return [*map(str, paths), *reasons]
