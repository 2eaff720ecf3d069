"""Is a contractive code flatter than a plain one, or only a worse one? Compared where both reconstruct equally well.

The plain autoencoder reconstructs better in the end, with a larger Jacobian. So it is followed through its training and
read off where its error has come down to that of the fitted contractive one, on a line between the looks around it.
"""

import json
from itertools import pairwise
from pathlib import Path

import torch

from inference import SVI, reconstruct
from inference.checkpoint import write_atomically
from inference.jacobian import jacobian_norm

from .. import runs
from ..recipes import RECIPES
from ..spec import Run

SHARE = 20  # of an epoch, between looks at the plain one


def _numbers(pair: torch.nn.Module, x: torch.Tensor) -> dict[str, float]:
    error = (x - reconstruct(pair, x)).square().sum(1).mean().item()
    return {"squared_error": error, "jacobian_norm": jacobian_norm(pair, x[:500]).mean().item()}


def reproduce(folder: Path, fitted: Path) -> dict:
    """Writes matched.json: squared error summed over pixels and |dz/dx|^2, per datum, on test data."""
    run, contractive = runs.load(fitted)
    x = run.datasets()["test"].x
    goal = _numbers(contractive, x)
    plain = Run.of("autoencoder", RECIPES["autoencoder"], run.data, settings={"seed": run.settings.seed})
    torch.manual_seed(run.settings.seed)
    pair = plain.build()
    train = plain.datasets()["train"]
    curve = []
    for step, _ in SVI(pair, train.x, settings=plain.settings):
        if step % (len(train) // plain.settings.batch_size // SHARE) == 0:
            curve.append(_numbers(pair, x))
            pair.train()
            if curve[-1]["squared_error"] <= goal["squared_error"]:
                break
    result = {"contractive": goal, "plain, as far as it was followed": curve[-1]}
    for before, after in pairwise(curve):
        if after["squared_error"] <= goal["squared_error"] < before["squared_error"]:
            way = (before["squared_error"] - goal["squared_error"]) / (before["squared_error"] - after["squared_error"])
            norm = before["jacobian_norm"] + way * (after["jacobian_norm"] - before["jacobian_norm"])
            result["plain, at the same error"] = {"squared_error": goal["squared_error"], "jacobian_norm": norm}
    write_atomically(folder / "matched.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
