"""Runs of two epochs, and comparisons of them."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gallery.runs import Run
from inference.fit.checkpoint import load_tensors

TINY = {"hidden": [16], "latent_dim": 3}


def tiny(
    data: str = "digits:dynamic", model: str = "vae", keywords: dict[str, Any] | None = None, **settings: Any
) -> Run:
    """Return a run of two epochs with minibatches of 100."""
    keywords = TINY if keywords is None else keywords
    return Run.of(model, None, data, keywords, {"epochs": 2, "batch_size": 100, **settings})


def history(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of history.jsonl without seconds."""
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def weights(folder: Path) -> dict[str, Tensor]:
    """Return the fitted weights of a run."""
    return load_tensors(folder / "weights.safetensors")[0]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Return whether two state dicts are equal to the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
