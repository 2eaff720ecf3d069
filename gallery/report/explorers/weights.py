"""Small fitted pairs of the deep models, committed, so that a page has an explorer without a run.

    python -m gallery.report.explorers.weights      # fits them all again: about five minutes on a core

Each is a quick fit on the 8 x 8 digits of scikit-learn, which need no download, with seed 0 and without tuning. The
weights are stored as float16 in weights.safetensors, by family and parameter. weights.json has beside each the
specification of its fit, the metrics of the rounded weights on test data, and the SHA-256 of the file.
"""

import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from data import Dataset
from gallery.runs.prepare import noise_of, prepare
from gallery.runs.specification import Run
from inference import Pair, Settings, evaluate
from inference.files import write_atomically

__all__ = ["FAMILIES", "committed", "fit", "write"]

HERE = Path(__file__).parent
WEIGHTS, RECORD = HERE / "weights.safetensors", HERE / "weights.json"

_IMAGES = {"hidden": [32]}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {  # family: (data, keywords)
    "vae": ("digits:threshold", _IMAGES | {"latent_dim": 2, "dropout": 0.0}),
    "cvae": ("digits:threshold", _IMAGES | {"latent_dim": 2, "dropout": 0.0}),
    "gmvae": ("digits:threshold", _IMAGES | {"latent_dim": 4, "components": 10}),
    "ss_vae": ("digits:threshold:100-labels", _IMAGES | {"latent_dim": 4, "alpha": 0.1 * (1200 / 100) ** 2}),
    "autoencoder": ("digits:grey", {"latent_dim": 8}),
    "denoising_autoencoder": ("digits:grey", {"latent_dim": 24}),
    "sparse_autoencoder": ("digits:grey", {"latent_dim": 24}),
    "k_sparse_autoencoder": ("digits:grey", {"latent_dim": 24, "k": 6}),
    "contractive_autoencoder": ("digits:grey", {"latent_dim": 24}),
    "vrnn": ("digits:threshold", {"steps": 8, "latent_dim": 2, "state_dim": 24, "hidden": [24]}),
}
SETTINGS: dict[str, Any] = {
    "epochs": 300,
    "batch_size": 50,
    "lr": 2e-3,
    "lr_schedule": "cosine",
    "seed": 0,
    "device": "cpu",
    "precision": "float32",
    "products": "default",
    "engine": "graph",
}


def committed(family: str) -> tuple[Pair, Dataset] | None:
    """Return the committed pair of a family and its test data, on the CPU and in float64, as the explorers take them.

    >>> pair, test = committed("vae")
    >>> pair.latent_dim, test.x.shape, test.x.dtype
    (2, torch.Size([297, 64]), torch.float64)

    :param family: name of a file of `gallery.models`
    :return: None for a family without committed weights
    """
    record = _record().get(family)
    if record is None:
        return None
    run = _run_of(record["run"])
    pair = run.build()
    pair.load_state_dict({name: value.double() for name, value in _weights()[family].items()})
    return pair.eval(), run.load("test")


@cache
def _record() -> dict[str, Any]:
    families: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))["families"]
    return families


@cache
def _weights() -> dict[str, dict[str, Tensor]]:
    stored: dict[str, dict[str, Tensor]] = {}
    for name, value in load_file(WEIGHTS).items():
        family, _, parameter = name.partition("/")
        stored.setdefault(family, {})[parameter] = value
    return stored


def _run_of(specification: dict[str, Any]) -> Run:
    """Return the run of a record, in float64."""
    settings = Settings(**specification["settings"] | {"precision": "float64"})
    return Run(**specification | {"settings": settings})


def fit(family: str) -> tuple[Run, Pair]:
    """Fit a family by its line above.

    :return: (the specification, the pair with weights rounded to float16, in float64)
    """
    dataset, keywords = FAMILIES[family]
    run = replace(Run.of(family, None, dataset, keywords, SETTINGS), threads=1)
    with noise_of(run):
        svi = prepare(run, run.datasets())
        svi.run()
    return run, svi.pair.half().double().eval()


def write(families: Iterable[str] = FAMILIES) -> None:
    """Fit families, and write their weights and records; those of other families stay.

    :param families: names in FAMILIES
    """
    stored = dict(_weights()) if WEIGHTS.exists() else {}
    records = dict(_record()) if RECORD.exists() else {}
    for family in families:
        run, pair = fit(family)
        test = _run_of(asdict(run)).load("test")
        stored[family] = {name: value.half().contiguous() for name, value in pair.state_dict().items()}
        metrics = evaluate(pair, test.x, test.given, particles=16, seed=0)
        kept = {name: metrics[name] for name in ("elbo", "reconstruction", "kl") if name in metrics}
        records[family] = {"run": asdict(run), "parameters": sum(p.numel() for p in pair.parameters()), "test": kept}
        print(family, {name: round(metric["value"], 3) for name, metric in kept.items()}, flush=True)
    names = [family for family in FAMILIES if family in stored]
    content = save({f"{family}/{name}": value for family in names for name, value in stored[family].items()})
    write_atomically(WEIGHTS, content)
    record = {
        "command": "python -m gallery.report.explorers.weights",
        "sha256": hashlib.sha256(content).hexdigest(),
        "families": {family: records[family] for family in names},
    }
    write_atomically(RECORD, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())


if __name__ == "__main__":
    torch.set_num_threads(1)
    write(sys.argv[1:] or FAMILIES)
