"""What a guide gains that sees the rows to come: filtering and smoothing on the same generative weights.

The generative weights are those of a fitted `vrnn`, and frozen, so the evidence is the same for all guides and a
higher ELBO is a smaller gap. The smoothing guide starts as the filtering one. So that more training is not taken for a
better family, the filtering guide is trained on for as long.
"""

import copy
import json
from pathlib import Path

import torch

from gallery.models.vrnn_smoothing import SmoothingVRNN
from gallery.runs import training as runs
from inference import SVI, Settings, evaluate
from inference.files import write_atomically

EPOCHS = 2


def reproduce(folder: Path, fitted: Path, epochs: int = EPOCHS) -> dict:
    """Fits both guides to the run in `fitted`; writes smoothing.json: the ELBO on test data, nats per data point."""
    run, filtering = runs.load(fitted)
    splits = run.datasets()
    torch.manual_seed(0)
    smoothing = SmoothingVRNN(**run.keywords).to(splits["train"].x)
    smoothing.start_from(filtering)
    result = {"epochs": epochs, "filtering as fitted": evaluate(filtering, splits["test"].x, particles=1)["elbo"]}
    settings = Settings(epochs=epochs, lr=run.settings.lr, lr_schedule="cosine")
    for name, pair in {"filtering, trained on": copy.deepcopy(filtering), "smoothing": smoothing}.items():
        frozen = {key: value.clone() for key, value in pair.decoder.state_dict().items()}
        torch.manual_seed(0)
        for _ in SVI(pair, splits["train"].x, settings=settings, only="guide"):
            pass
        assert all(torch.equal(value, frozen[key]) for key, value in pair.decoder.state_dict().items())
        result[name] = evaluate(pair, splits["test"].x, particles=1)["elbo"]
        write_atomically(folder / "smoothing.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
