"""Draws of a fitted pair in one NetCDF file, as ArviZ reads it: `arviz.from_netcdf("draws.nc")`.

The groups are those of WHAT. Every array begins with the dimensions (chain, draw), then `datum` if it has one row per
data point, or the name of another plate if it has one draw for each item of that. The event dimensions of z are
z_dim_0, z_dim_1, ... The draws are independent samples of the guide, which approximates the posterior. Their
log-weights measure the approximation, and correct for it. There are no log-weights if the guide is a point, if a latent
is global (the weight is then one of all the data), or if only the model enumerates a latent, which is then drawn from
its exact posterior. Steps after the end of a sequence are NaN.

The groups are written by xarray, and are the same for ArviZ before and after 1.0.

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
from torch import Tensor

from data import Dataset
from gallery.errors import RunError
from gallery.runs.rows import places_of
from gallery.runs.specification import Run
from inference import Pair, eval_mode
from inference.evaluation.predictive import observed_value, posterior_trace
from inference.files import write_atomically, writing
from inference.pairs.ends import data_within, entries_within, left_out
from inference.pairs.info import inspect_pair
from inference.pairs.run import arguments, log_joint
from inference.pairs.sites import Site, is_local, latent_sites, observed_sites, other_plate

__all__ = ["about", "groups", "write"]

DATUM = "datum"
MOST = 2**31  # bytes of the draws of x
WHAT = {  # the groups of a file, and the attribute "about" of each
    "posterior": "the latent sites: independent draws of the guide q(latents | x), which approximates the posterior",
    "log_likelihood": "x: log p(x | latents) at each draw, nats per data point",
    "posterior_predictive": "x: new data from p(x | latents) at each draw",
    "sample_stats": "log_weight: log p(x, latents) - log q(latents | x) at each draw, nats per data point",
    "prior": "the latent sites: draws from the model",
    "observed_data": "x: the data as they are scored",
    "constant_data": "labels of the data, and what the model conditions on",
}

Sites = dict[str, tuple[Tensor, str]]  # name -> (value, name of its first dimension; empty if it is of the event)


def _values(trace: poutine.Trace) -> Sites:
    sites = {name: site for name, site in latent_sites(trace).items() if name not in observed_sites(trace)}
    return {name: (site["value"], _dimension(site)) for name, site in sites.items()}


def _dimension(site: Site) -> str:
    plate = other_plate(site)
    if is_local(site) or plate is None:
        return DATUM * is_local(site)
    return f"{plate.name}_plate" if plate.name in ("chain", "draw", DATUM) else plate.name


def _draw(pair: Pair, args: tuple[Tensor, ...], weighted: bool, flat: bool) -> dict[str, Sites]:
    """Return one draw for all rows of the data: the sites of every group."""
    drawn = posterior_trace(pair, args)
    latents = {name: site["value"] for name, site in latent_sites(drawn).items()}
    log_prior, log_likelihood = log_joint(pair, args, latents)
    model = poutine.uncondition(pair.model)
    replicated = poutine.trace(poutine.replay(model, drawn)).get_trace(*args)
    exported = {
        "posterior": _values(drawn),
        "log_likelihood": {"x": (log_likelihood, DATUM)},
        "posterior_predictive": {"x": (observed_value(replicated, lambda site: site["value"], args[0]), DATUM)},
    }
    if weighted:
        drawn.compute_log_prob()
        log_q = sum(site["log_prob"] for site in latent_sites(drawn).values())
        exported["sample_stats"] = {"log_weight": (log_prior + log_likelihood - log_q, DATUM)}
    if not flat:
        exported["prior"] = _values(poutine.trace(model).get_trace(*args))
    return exported


def _dataset(arrays: dict[str, tuple[Tensor, tuple[str, ...]]], attributes: dict[str, str]) -> xr.Dataset:
    """Return arrays with their first dimensions named; the others are named after the array, and numbered."""
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    coordinates: dict[str, np.ndarray] = {}
    for name, (values, dims) in arrays.items():
        dims = (*dims, *(f"{name}_dim_{i}" for i in range(values.dim() - len(dims))))
        variables[name] = (dims, values.detach().numpy())
        coordinates |= {dim: np.arange(size) for dim, size in zip(dims, values.shape, strict=True)}
    return xr.Dataset(variables, coordinates, attributes)


def groups(pair: Pair, dataset: Dataset, draws: int = 200, seed: int = 0) -> dict[str, xr.Dataset]:
    """Return the groups of the file by name, for one chain.

    They take draws * n * (size of x + twice the size of the latents) numbers of memory, for n rows of data.
    """
    kept: dict[str, dict] = defaultdict(lambda: defaultdict(list))
    with eval_mode(pair, seed):
        x = dataset.scored()
        args = arguments(pair, x, dataset.given)
        info = inspect_pair(pair, args)
        weighted = not (info.has_global_latent or info.delta_sites or info.enumerated_in_model)
        flat = not info.generates
        latents, of_x = entries_within(pair, args), data_within(pair, x)
        within = {"posterior": latents, "prior": latents, "posterior_predictive": {} if of_x is None else {"x": of_x}}
        for _ in range(draws):
            for group, sites in _draw(pair, args, weighted, flat).items():
                values = left_out({name: value for name, (value, _) in sites.items()}, within.get(group))
                for name, (_, dimension) in sites.items():
                    dimensions = ("chain", "draw", *filter(None, [dimension]))
                    kept[group][name, dimensions].append(values[name].detach().cpu())
    exported = {
        group: {name: (torch.stack(values).unsqueeze(0), dims) for (name, dims), values in sites.items()}
        for group, sites in kept.items()
    }
    constant = {"labels": dataset.labels, "given": args[1] if len(args) > 1 else None}
    exported["observed_data"] = {"x": (x.cpu(), (DATUM,))}
    exported["constant_data"] = {name: (v.cpu(), (DATUM,)) for name, v in constant.items() if v is not None}
    for group in ("posterior_predictive", "observed_data"):  # pixels get the shape of the image
        value, dims = exported[group]["x"]
        exported[group]["x"] = (value.unflatten(-1, dataset.shape), dims)
    return {group: _dataset(arrays, {"about": WHAT[group]}) for group, arrays in exported.items() if arrays}


def about(run: Run, dataset: Dataset, seed: int) -> dict[str, str]:
    """Return the attributes of a file: model, data, settings, seed and versions."""
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


def write(run: Run, pair: Pair, dataset: Dataset, out: Path, draws: int = 200, seed: int = 0) -> Path:
    """Write the NetCDF file atomically, and return its path.

    :param draws: posterior draws per data point
    :raises RunError: if the draws would take more than MOST bytes, or the guide has no parameters for these data
    """
    if draws < 1:
        raise RunError(f"The number of draws is {draws}; expected draws >= 1.")
    size = draws * dataset.x.numel() * dataset.x.element_size()
    if size > MOST:
        raise RunError(
            f"{draws} draws of {len(dataset)} data points would take {size / 2**30:.1f} GiB; the limit is "
            f"{MOST / 2**30:.0f} GiB. Reduce draws or n."
        )
    with places_of(dataset, pair):
        exported = groups(pair, dataset, draws, seed)
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=about(run, dataset, seed)), **exported})
    packed = {f"/{name}": {v: {"zlib": True, "complevel": 1} for v in group} for name, group in exported.items()}
    with writing(out), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "draws.nc"
        tree.to_netcdf(file, engine="h5netcdf", encoding=packed)
        write_atomically(out, file.read_bytes())
    return out
