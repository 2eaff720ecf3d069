"""Small fitted pairs of models without exact evidence, committed, so that a page has an explorer without a run.

    committed("vae")      # (pair, test data)

Each is a quick fit on data that need no download, the 8 x 8 digits of scikit-learn or `topics`; fit_weights.py makes
them. The weights are stored as float16 in weights.safetensors, by family and parameter. weights.json has the
specification of each fit, the metrics of the rounded weights on test data, and the SHA-256 of the file.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from data import Dataset
from gallery.figures.style import number
from gallery.runs.specification import Run
from inference import Pair, Settings

__all__ = ["RECORD", "WEIGHTS", "committed", "describe", "read_record", "read_weights", "run_of_record"]

HERE = Path(__file__).parent
WEIGHTS, RECORD = HERE / "weights.safetensors", HERE / "weights.json"


def committed(family: str) -> tuple[Pair, Dataset] | None:
    """Return the committed pair of a family and its test data, on the CPU and in float64, as the explorers take them.

    >>> pair, test = committed("vae")
    >>> pair.latent_dim, test.x.shape, test.x.dtype
    (2, torch.Size([297, 64]), torch.float64)

    :param family: name of a file of `gallery.models`
    :return: None for a family without committed weights, and where the file of weights is not installed
    """
    record = read_record().get(family) if WEIGHTS.exists() else None
    if record is None:
        return None
    run = run_of_record(record["run"])
    pair = run.build()
    pair.load_state_dict({name: value.double() for name, value in read_weights()[family].items()})
    return pair.eval(), run.load("test")


def describe(family: str) -> str:
    """Return in words how the committed pair of a family was fitted, and how well.

    :raises KeyError: if the family has no committed weights
    """
    record = read_record()[family]
    settings, metrics = record["run"]["settings"], record["test"]
    name, key = ("ELBO", "elbo") if "elbo" in metrics else ("Reconstruction term", "reconstruction")
    metric = metrics[key]
    return (
        f"This pair is small: {record['parameters']:,} parameters, fitted to {record['run']['data']} for "
        f"{settings['epochs']} epochs with seed {settings['seed']}, not tuned. {name} on {metric['n']} test data: "
        f"{number(metric['value'], '.2f')} ± {metric['se']:.2f} {metric['unit']}. The page of a run has its fit."
    )


@cache
def read_record() -> dict[str, Any]:
    """Return the records by family."""
    families: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))["families"]
    return families


@cache
def read_weights() -> dict[str, dict[str, Tensor]]:
    """Return the weights, float16, by family and parameter."""
    stored: dict[str, dict[str, Tensor]] = {}
    for name, value in load_file(WEIGHTS).items():
        family, _, parameter = name.partition("/")
        stored.setdefault(family, {})[parameter] = value
    return stored


def run_of_record(specification: dict[str, Any]) -> Run:
    """Return the run of a record, in float64."""
    settings = Settings(**specification["settings"] | {"precision": "float64"})
    return Run(**specification | {"settings": settings})
