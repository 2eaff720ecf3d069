"""Jacobian of a contractive autoencoder and of the same networks without the penalty, at the same squared error.

Without the penalty the same networks reach a lower error, with a larger Jacobian. They are therefore compared during
training, when their error has fallen to that of the fitted contractive autoencoder, by linear interpolation between the
two snapshots around it. A figure follows both on the embedded digits.

The norm of the code's Jacobian has the unit of the code, which the decoder can rescale. The norm of the Jacobian of the
map from x to its reconstruction has no unit, and is reported beside it.
"""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch

import data
from gallery.catalogue.recipes import RECIPES
from gallery.figures import contraction, save
from gallery.models.contractive_autoencoder import ContractiveAutoencoder
from gallery.runs import training
from gallery.runs.prepare import noise_of
from gallery.runs.specification import Run
from inference import SVI, Settings, reconstruct
from inference.evaluation.jacobian import jacobian_norm
from inference.files import write_atomically
from inference.pairs.streams import seeded

__all__ = ["WEIGHTS", "along_training", "map_norm", "reproduce"]

SNAPSHOTS_PER_EPOCH = 20  # of the autoencoder without the penalty
WEIGHTS = {"without the penalty": 0.0, "with the penalty": 0.1}  # on the embedded digits


def map_norm(pair: ContractiveAutoencoder, x: torch.Tensor) -> float:
    """Return |dx' / dx|_F^2 of the reconstruction x', a mean over the rows of x."""
    x = x.detach().requires_grad_()
    totals = pair.decoder(pair.encoder(x)).mean.sum(0).unbind()  # each row depends on its x only
    return sum(torch.autograd.grad(t, x, retain_graph=True)[0].square().sum().item() for t in totals) / len(x)


def _error(pair: ContractiveAutoencoder, x: torch.Tensor) -> float:
    return (x - reconstruct(pair, x)).square().sum(1).mean().item()


def _numbers(pair: ContractiveAutoencoder, x: torch.Tensor) -> dict[str, float]:
    norm = jacobian_norm(pair, x[:500]).mean().item()
    return {"squared_error": _error(pair, x), "jacobian_norm": norm, "map_norm": map_norm(pair, x[:100])}


def along_training(weight: float, epochs: int = 15) -> list[dict[str, float]]:
    """Fit a network to the embedded digits from one start, and follow its error and its Jacobians on test images.

    :param weight: of the penalty
    :return: after every 20 steps "squared_error", "jacobian_norm", |dz/dx|^2, and "map_norm", |dx'/dx|^2
    """
    train, test = (data.load("digits:grey", split).x for split in ("train", "test"))
    with seeded(0, "along training"):
        pair = ContractiveAutoencoder(weight=weight, data_dim=train.shape[1])
        steps = SVI(pair, train, settings=Settings(epochs=epochs, lr=6e-3))
        return [_numbers(pair, test) for step, _ in steps if step % 20 == 0]


def reproduce(folder: Path, fitted: Path) -> dict[str, Any]:
    """Write matched.json and contraction.png, and return the content of the first.

    :param fitted: folder of a run of `contractive_autoencoder`
    :return: squared error summed over pixels, |dz/dx|^2 and |dx'/dx|^2, per data point, on test data, with the penalty
        and without it
    """
    run, contractive = training.load(fitted)
    x = run.datasets()["test"].x
    goal = _numbers(cast(ContractiveAutoencoder, contractive), x)
    about = run.keywords | {"weight": 0.0}, {"seed": run.settings.seed}
    plain = Run.of("contractive_autoencoder", RECIPES["contractive_autoencoder"], run.data, *about)
    pair = cast(ContractiveAutoencoder, plain.build())
    train = plain.datasets()["train"]
    snapshots = [copy.deepcopy(pair)]
    with noise_of(plain):
        for step, _ in SVI(pair, train.x, settings=plain.settings):
            if step % (len(train) // plain.settings.batch_size // SNAPSHOTS_PER_EPOCH) == 0:
                snapshots = [snapshots[-1], copy.deepcopy(pair)]
                if _error(pair, x) <= goal["squared_error"]:
                    break
                pair.train()
    before, after = (_numbers(snapshot, x) for snapshot in snapshots)
    result = {"contractive": goal, "without the penalty, as far as it was followed": after}
    if after["squared_error"] <= goal["squared_error"] < before["squared_error"]:
        way = (before["squared_error"] - goal["squared_error"]) / (before["squared_error"] - after["squared_error"])
        between = {name: number + way * (after[name] - number) for name, number in before.items()}
        result["without the penalty, at the same error"] = between
    paths = {name: along_training(weight) for name, weight in WEIGHTS.items()}
    points: dict[str, Sequence[tuple[float, float]]] = {
        name: [(at["squared_error"], at["jacobian_norm"]) for at in path] for name, path in paths.items()
    }
    save(contraction(points), folder / "contraction.png")
    write_atomically(folder / "matched.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
