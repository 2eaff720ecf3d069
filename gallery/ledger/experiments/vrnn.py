"""Filtering and smoothing guides of a VRNN, compared at the same generative weights.

A smoothing guide conditions on later rows too. The generative weights are those of a fitted `vrnn` and are frozen, so
the evidence is the same for all guides, and a higher ELBO means a smaller gap. The smoothing guide is initialised as
the filtering guide. The filtering guide is trained for as many further epochs, so that the comparison is of families
and not of training time.
"""

import copy
import json
from pathlib import Path
from typing import Any, cast

import torch

from gallery.models.vrnn import VRNN
from gallery.models.vrnn_smoothing import SmoothingVRNN
from gallery.runs import training
from gallery.runs.prepare import noise_of
from inference import SVI, Settings, evaluate
from inference.files import write_atomically
from inference.pairs.streams import seeded

__all__ = ["EPOCHS", "reproduce"]

EPOCHS = 2


def reproduce(folder: Path, fitted: Path, epochs: int = EPOCHS) -> dict[str, Any]:
    """Fit both guides at the generative weights of a run, and write smoothing.json.

    :param fitted: folder of the run
    :return: the content of the file: the ELBO of test data by guide, nats per data point
    """
    run, loaded = training.load(fitted)
    filtering = cast(VRNN, loaded)
    splits = run.datasets()
    with seeded(run.settings.seed, "smoothing"):
        smoothing = SmoothingVRNN(**run.keywords).to(splits["train"].x)
    smoothing.start_from(filtering)
    result: dict[str, Any] = {"epochs": epochs}
    result["filtering as fitted"] = evaluate(filtering, splits["test"].x, particles=1)["elbo"]
    settings = Settings(epochs=epochs, lr=run.settings.lr, lr_schedule="cosine")
    pairs: dict[str, VRNN] = {"filtering, trained on": copy.deepcopy(filtering), "smoothing": smoothing}
    for name, pair in pairs.items():
        frozen = {key: value.clone() for key, value in pair.decoder.state_dict().items()}
        with noise_of(run):
            for _ in SVI(pair, splits["train"].x, settings=settings, only="guide"):
                pass
        assert all(torch.equal(value, frozen[key]) for key, value in pair.decoder.state_dict().items())
        result[name] = evaluate(pair, splits["test"].x, particles=1)["elbo"]
        write_atomically(folder / "smoothing.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
