"""Is a contractive code flatter than the same without the penalty, or only a worse one? Compared at the same error.

Without the penalty the same networks reconstruct better in the end, with a larger Jacobian. So they are followed
through their training and read off where the error has come down to that of the fitted contractive one, on a line
between the looks around it. The norm of the code's Jacobian has the unit of the code, which a decoder can undo; that of
the whole map from x to its reconstruction has none, so it stands beside it.
"""

import copy
import json
from pathlib import Path

import torch

from gallery.catalogue.recipes import RECIPES
from gallery.runs import training as runs
from gallery.runs.specification import Run
from inference import SVI, reconstruct
from inference.evaluation.jacobian import jacobian_norm
from inference.files import write_atomically

SHARE = 20  # of an epoch, between looks at the one without penalty


def map_norm(pair: torch.nn.Module, x: torch.Tensor) -> float:
    """|dx' / dx|_F^2 of the reconstruction x', a mean over rows of x."""
    x = x.detach().requires_grad_()
    totals = pair.decoder(pair.encoder(x)).mean.sum(0).unbind()  # a row's depends on no other row
    return sum(torch.autograd.grad(t, x, retain_graph=True)[0].square().sum().item() for t in totals) / len(x)


def _error(pair: torch.nn.Module, x: torch.Tensor) -> float:
    return (x - reconstruct(pair, x)).square().sum(1).mean().item()


def _numbers(pair: torch.nn.Module, x: torch.Tensor) -> dict[str, float]:
    norm = jacobian_norm(pair, x[:500]).mean().item()
    return {"squared_error": _error(pair, x), "jacobian_norm": norm, "map_norm": map_norm(pair, x[:100])}


def reproduce(folder: Path, fitted: Path) -> dict:
    """Writes matched.json: squared error summed over pixels, |dz/dx|^2 and |dx'/dx|^2, per data point, on test data."""
    run, contractive = runs.load(fitted)
    x = run.datasets()["test"].x
    goal = _numbers(contractive, x)
    about = run.keywords | {"weight": 0.0}, {"seed": run.settings.seed}
    plain = Run.of("contractive_autoencoder", RECIPES["contractive_autoencoder"], run.data, *about)
    torch.manual_seed(run.settings.seed)
    pair = plain.build()
    train = plain.datasets()["train"]
    looks = [copy.deepcopy(pair)]
    for step, _ in SVI(pair, train.x, settings=plain.settings):
        if step % (len(train) // plain.settings.batch_size // SHARE) == 0:
            looks = [looks[-1], copy.deepcopy(pair)]
            if _error(pair, x) <= goal["squared_error"]:
                break
            pair.train()
    before, after = (_numbers(inspect_pair, x) for inspect_pair in looks)
    result = {"contractive": goal, "without the penalty, as far as it was followed": after}
    if after["squared_error"] <= goal["squared_error"] < before["squared_error"]:
        way = (before["squared_error"] - goal["squared_error"]) / (before["squared_error"] - after["squared_error"])
        between = {name: number + way * (after[name] - number) for name, number in before.items()}
        result["without the penalty, at the same error"] = between
    write_atomically(folder / "matched.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
