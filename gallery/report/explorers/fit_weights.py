"""Fit the small pairs of models without exact evidence, and write their weights beside weights.py.

    python -m gallery.report.explorers.fit_weights          # all families: about fifteen minutes on a core
    python -m gallery.report.explorers.fit_weights vae      # this one; the weights of the others stay

Each is a quick fit with seed 0 and without tuning: of images on the 8 x 8 digits of scikit-learn, of words on `topics`.
"""

import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

import torch
from safetensors.torch import save

from gallery.catalogue.recipes import RECIPES
from gallery.report.explorers.weights import RECORD, WEIGHTS, read_record, read_weights, run_of_record
from gallery.runs.prepare import noise_of, prepare
from gallery.runs.specification import Run
from inference import Pair, evaluate
from inference.files import write_atomically

__all__ = ["FAMILIES", "fit", "write"]

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
    "lda": ("topics", {}),
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
OWN: dict[str, dict[str, Any]] = {  # family: settings of its recipe, where these are others
    "lda": {name: RECIPES["lda"].settings[name] for name in ("epochs", "batch_size", "lr", "lr_schedule")},
}


def fit(family: str) -> tuple[Run, Pair]:
    """Fit a family by its line above.

    :return: (the specification, the pair with weights rounded to float16, in float64)
    """
    dataset, keywords = FAMILIES[family]
    run = replace(Run.of(family, None, dataset, keywords, SETTINGS | OWN.get(family, {})), threads=1)
    with noise_of(run):
        svi = prepare(run, run.datasets())
        svi.run()
    return run, svi.pair.half().double().eval()


def write(families: Iterable[str] = FAMILIES) -> None:
    """Fit families, and write their weights and records; those of other families stay.

    :param families: names in FAMILIES
    """
    stored = dict(read_weights()) if WEIGHTS.exists() else {}
    records = dict(read_record()) if RECORD.exists() else {}
    for family in families:
        run, pair = fit(family)
        test = run_of_record(asdict(run)).load("test")
        stored[family] = {name: value.half().contiguous() for name, value in pair.state_dict().items()}
        metrics = evaluate(pair, test.x, test.given, particles=16, seed=0)
        kept = {name: metrics[name] for name in ("elbo", "reconstruction", "kl") if name in metrics}
        records[family] = {"run": asdict(run), "parameters": sum(p.numel() for p in pair.parameters()), "test": kept}
        print(family, {name: round(metric["value"], 3) for name, metric in kept.items()}, flush=True)
    names = [family for family in FAMILIES if family in stored]
    content = save({f"{family}/{name}": value for family in names for name, value in stored[family].items()})
    write_atomically(WEIGHTS, content)
    record = {
        "command": "python -m gallery.report.explorers.fit_weights",
        "torch": torch.__version__,
        "sha256": hashlib.sha256(content).hexdigest(),
        "families": {family: records[family] for family in names},
    }
    write_atomically(RECORD, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())


if __name__ == "__main__":
    torch.set_num_threads(1)
    write(sys.argv[1:] or FAMILIES)
