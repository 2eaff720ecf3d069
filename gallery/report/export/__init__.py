"""Export of a fitted pair: its draws for ArviZ, and its encoder and decoder as ONNX.

arviz.py     posterior draws, log-likelihood and posterior predictive in one NetCDF file
networks.py  encoder and decoder as functions of tensors
onnx.py      both as ONNX, checked against torch before they are written

The first and the last need optional packages, so they are imported on use.
"""

from importlib.util import find_spec
from pathlib import Path

from data import Dataset
from gallery.errors import RunError
from gallery.runs.specification import Run
from inference import Pair

__all__ = ["export", "need"]

NEEDS = {
    "arviz": ("arviz", "xarray", "h5netcdf"),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "tensorboard": ("tensorboard",),
}


def need(extra: str, what: str) -> None:
    """Check that the packages of an extra are installed.

    :param what: the feature that needs them, for the message
    :raises RunError: if one is missing
    """
    for package in NEEDS[extra]:
        if find_spec(package) is None:
            raise RunError(f"{what} needs {package}, which is not installed. Use pip install latent-gallery[{extra}].")


def export(
    folder: Path, run: Run, pair: Pair, dataset: Dataset, to: str, out: Path | None, draws: int, seed: int
) -> list[str]:
    """Write the files of `gallery export`, and return one line for each file and for each missing network.

    :param to: "arviz" or "onnx"
    :param out: a .nc file for "arviz", a folder for "onnx"; by default in the folder of the run
    :param draws: posterior draws per data point
    :raises RunError: if packages are missing, `out` has the wrong kind, or there is nothing to write
    """
    need(to, f"--to {to}")
    if not len(dataset):
        raise RunError("The export has no data points. Use n >= 1.")
    out = out or folder / ("draws.nc" if to == "arviz" else "onnx")
    if not out.parent.is_dir():
        raise RunError(f"The folder {out.parent} does not exist. Create it first.")
    if to == "arviz":
        from gallery.report.export import arviz

        if out.suffix != ".nc":
            raise RunError(f"The output for ArviZ is a NetCDF file: expected a path that ends in .nc, got {out}.")
        return [str(arviz.write(run, pair, dataset, out, draws, seed))]
    from gallery.report.export import onnx

    if out.exists() and not out.is_dir():
        raise RunError(f"The output for ONNX is a folder of encoder.onnx and decoder.onnx, and {out} is a file.")
    paths, reasons = onnx.write(run, pair, dataset, out)
    return [*map(str, paths), *reasons]
