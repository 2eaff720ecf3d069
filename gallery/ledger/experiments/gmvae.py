"""Variance of the gradient of a GMVAE under several estimators: enumerated and Gumbel-Softmax components.

All gradients are computed at the weights of a fitted `gmvae`, over the same minibatches. The means of two estimators
differ where their objectives differ: the relaxed objective belongs to a different model.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from gallery.models import MODELS
from gallery.runs import training
from inference import SVI
from inference.files import write_atomically
from inference.fit.gradients import gradient_noise

__all__ = ["ESTIMATORS", "reproduce"]

ESTIMATORS = {  # name: (model, objective)
    "enumerated, KL of z sampled": ("gmvae", "enum"),
    "enumerated, KL of z in closed form": ("gmvae", "enum_analytic"),
    "Gumbel-Softmax": ("gmvae:relaxed", "trace"),
    "Gumbel-Softmax, categorical KL": ("gmvae:categorical_kl", "trace"),
    "straight-through": ("gmvae:straight_through", "trace"),
}


def reproduce(folder: Path, fitted: Path, minibatches: int = 5, repeats: int = 20) -> dict[str, Any]:
    """Write gradients.json, and return its content: the result of `gradient_noise` by estimator, in nats squared.

    :param fitted: folder of the run
    """
    run, pair = training.load(fitted)
    x = run.datasets()["train"].x
    result: dict[str, Any] = {}
    for name, (model, objective) in ESTIMATORS.items():
        other = MODELS[model](**run.keywords).to(x)
        other.load_state_dict(pair.state_dict())
        settings = replace(run.settings, objective=objective, precision="float32", engine="pyro")
        result[name] = gradient_noise(SVI(other, x, settings=settings), minibatches, repeats)
    write_atomically(folder / "gradients.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
