"""What it costs to draw the component instead of summing it out: gradients of one pair under several estimators.

All are taken at the same weights, those of a fitted `gmvae`, over the same minibatches. Their means differ where the
objectives do: the relaxed one is of another model.
"""

import json
from dataclasses import replace
from pathlib import Path

from gallery.models import MODELS
from gallery.runs import training as runs
from inference import SVI
from inference.files import write_atomically
from inference.fit.gradients import gradient_noise

ESTIMATORS = {  # model, objective
    "enumerated, KL of z sampled": ("gmvae", "enum"),
    "enumerated, KL of z in closed form": ("gmvae", "enum_analytic"),
    "Gumbel-Softmax": ("gmvae:relaxed", "trace"),
    "Gumbel-Softmax, categorical KL": ("gmvae:categorical_kl", "trace"),
}


def reproduce(folder: Path, fitted: Path, minibatches: int = 5, repeats: int = 20) -> dict:
    """Writes gradients.json: {estimator: what `gradient_noise` says, over all parameters}, nats squared."""
    run, pair = runs.load(fitted)
    x, result = run.datasets()["train"].x, {}
    for name, (model, objective) in ESTIMATORS.items():
        other = MODELS[model](**run.keywords).to(x)
        other.load_state_dict(pair.state_dict())
        settings = replace(run.settings, objective=objective, precision="float32", compile=False)
        result[name] = gradient_noise(SVI(other, x, settings=settings), minibatches, repeats)
    write_atomically(folder / "gradients.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
