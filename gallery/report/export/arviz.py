"""Draws of a fitted pair in one NetCDF file, as ArviZ reads it: `arviz.from_netcdf("draws.nc")`.

The groups are those of WHAT. Every array begins with the dimensions (chain, draw), and `datum` where each datum has one
of its own; the dimensions of z itself are z_dim_0, z_dim_1, ... The draws are independent ones of the guide, which is
an approximation: their log-weights tell how good a one, and correct for it. There are none where the guide is a point,
where a latent is global and so the weight is that of all the data together, and where the model alone sums out a
latent, which is then drawn from its exact posterior.

The groups are written by xarray, and so are the same for ArviZ before and after 1.0.

    Kumar, Carroll, Hartikainen and Martin, ArviZ: a unified library for exploratory analysis of Bayesian models in
    Python, 2019.
"""

import json
import platform
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyro
import torch
import xarray as xr
from pyro import poutine
from torch import Tensor, nn

from data import Dataset
from gallery.errors import RunError
from gallery.runs.specification import Run
from inference import eval_mode
from inference.evaluation.predictive import observed_value, posterior_trace
from inference.files import write_atomically
from inference.pairs.info import inspect_pair
from inference.pairs.run import arguments, log_joint
from inference.pairs.sites import is_local, latent_sites, observed_sites

MOST = 2**31  # bytes that the draws of x may take
WHAT = {  # the groups of a file, and the attribute "about" of each
    "posterior": "the latent sites: independent draws of the guide q(latents | x), which approximates the posterior",
    "log_likelihood": "x: log p(x | latents) at each draw, nats per data point",
    "posterior_predictive": "x: data drawn anew from p(x | latents) at each draw",
    "sample_stats": "log_weight: log p(x, latents) - log q(latents | x) at each draw, nats per data point",
    "prior": "the latent sites: draws from the model",
    "observed_data": "x: the data as they are scored",
    "constant_data": "labels of the data, and what the model conditions on",
}

Sites = dict[str, tuple[Tensor, bool]]  # name to (value, is its first dimension the data?)


def _values(trace: poutine.Trace) -> Sites:
    sites = {name: site for name, site in latent_sites(trace).items() if name not in observed_sites(trace)}
    return {name: (site["value"], is_local(site)) for name, site in sites.items()}


def _draw(pair: nn.Module, args: tuple[Tensor, ...], weighs: bool, flat: bool) -> dict[str, Sites]:
    """One draw for all rows of the data: the sites of every group."""
    drawn = posterior_trace(pair, args)
    latents = {name: site["value"] for name, site in latent_sites(drawn).items()}
    log_prior, log_likelihood = log_joint(pair, args, latents)
    model = poutine.uncondition(pair.model)
    anew = poutine.trace(poutine.replay(model, drawn)).get_trace(*args)
    found = {
        "posterior": _values(drawn),
        "log_likelihood": {"x": (log_likelihood, True)},
        "posterior_predictive": {"x": (observed_value(anew, lambda site: site["value"], args[0]), True)},
    }
    if weighs:
        drawn.compute_log_prob()
        log_q = sum(site["log_prob"] for site in latent_sites(drawn).values())
        found["sample_stats"] = {"log_weight": (log_prior + log_likelihood - log_q, True)}
    if not flat:
        found["prior"] = _values(poutine.trace(model).get_trace(*args))
    return found


def _dataset(arrays: dict[str, tuple[Tensor, tuple[str, ...]]], attributes: dict[str, str]) -> xr.Dataset:
    """Arrays with the names of their first dimensions; the others are named after the array, and numbered."""
    variables, coordinates = {}, {}
    for name, (values, dims) in arrays.items():
        dims = (*dims, *(f"{name}_dim_{i}" for i in range(values.dim() - len(dims))))
        variables[name] = (dims, values.numpy())
        coordinates |= {dim: np.arange(size) for dim, size in zip(dims, values.shape, strict=True)}
    return xr.Dataset(variables, coordinates, attributes)


def groups(pair: nn.Module, dataset: Dataset, draws: int = 200, seed: int = 0) -> dict[str, xr.Dataset]:
    """The groups of the file by name, of one chain. They take draws * n * (numbers in x and in two draws of the
    latents) numbers of memory; n is the number of rows of the data set."""
    kept: dict[str, dict] = defaultdict(lambda: defaultdict(list))
    with eval_mode(pair, seed):
        x = dataset.scored()
        args = arguments(pair, x, dataset.given)
        seen = inspect_pair(pair, args)
        weighs = not (seen.has_global_latent or seen.delta_sites or seen.enumerated_in_model)
        flat = not seen.generates
        for _ in range(draws):
            for group, sites in _draw(pair, args, weighs, flat).items():
                for name, (value, local) in sites.items():
                    kept[group][name, ("chain", "draw", "datum") if local else ("chain", "draw")].append(
                        value.detach().cpu()
                    )
    found = {
        group: {name: (torch.stack(values).unsqueeze(0), dims) for (name, dims), values in sites.items()}
        for group, sites in kept.items()
    }
    constant = {"labels": dataset.labels, "given": args[1] if len(args) > 1 else None}
    found["observed_data"] = {"x": (x.cpu(), ("datum",))}
    found["constant_data"] = {name: (v.cpu(), ("datum",)) for name, v in constant.items() if v is not None}
    for group in ("posterior_predictive", "observed_data"):  # a picture is one again
        value, dims = found[group]["x"]
        found[group]["x"] = (value.unflatten(-1, dataset.shape), dims)
    return {group: _dataset(arrays, {"about": WHAT[group]}) for group, arrays in found.items() if arrays}


def about(run: Run, dataset: Dataset, seed: int) -> dict[str, str]:
    """The attributes of a file: of which model the draws are, on which data, made by what."""
    versions = {"python": platform.python_version(), "torch": torch.__version__, "pyro": pyro.__version__}
    return {
        "draws": WHAT["posterior"],
        "model": run.model,
        "keywords": json.dumps(run.keywords),
        "data": dataset.name,
        "split": dataset.split,
        "data_hash": dataset.hash,
        "fitted_to": run.data,
        "settings": json.dumps(run.settings.__dict__),
        "seed": str(seed),
        "inference_library": "pyro",
        "inference_library_version": pyro.__version__,
        "versions": json.dumps(versions | {"xarray": xr.__version__}),
    }


def write(run: Run, pair: nn.Module, dataset: Dataset, out: Path, draws: int = 200, seed: int = 0) -> Path:
    """Writes the NetCDF file, whole or not at all.

    :raises RunError: if the draws would take more than MOST bytes, or the guide knows nothing of these data
    """
    if draws < 1:
        raise RunError(f"--draws is at least 1, not {draws}.")
    size = draws * dataset.x.numel() * dataset.x.element_size()
    if size > MOST:
        raise RunError(
            f"{draws} draws of {len(dataset)} data would take {size / 2**30:.1f} GiB, and {MOST / 2**30:.0f} are the "
            "most: choose fewer with --draws or --n."
        )
    few, fitted = dataset.head(2), dataset.split in ("train", "all")
    args = arguments(pair, few.scored(), few.given)
    if not fitted and not (info := inspect_pair(pair, args)).has_global_latent and info.is_per_data_point:
        raise RunError(
            f"the guide of {run.model} has parameters of its own for each datum it was fitted to, and none for these: "
            "use --split train."
        )
    found = groups(pair, dataset, draws, seed)
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=about(run, dataset, seed)), **found})
    packed = {f"/{name}": {v: {"zlib": True, "complevel": 1} for v in group} for name, group in found.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "draws.nc"
        tree.to_netcdf(file, engine="h5netcdf", encoding=packed)
        write_atomically(out, file.read_bytes())
    return out
