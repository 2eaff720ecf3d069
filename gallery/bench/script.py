"""A fit as a script of stock Pyro or of NumPyro, from the start of the process to a file with its losses.

    python -m gallery.bench.script pyro factor_analysis losses.json

It has the model, data, weights and settings of `gallery fit`, and does nothing beside the steps.
"""

import json
import math
import sys
from pathlib import Path

import torch

from gallery.runs.specification import Run

__all__ = ["write_losses"]


def write_losses(by: str, model: str, data: str | None, epochs: int | None, file: Path) -> None:
    """Fit a model and write the loss of every step, in nats per data point, as JSON.

    :param by: "pyro" or "numpyro"
    :param data: name of the data; that of the recipe if it is None
    :param epochs: those of the recipe if it is None
    """
    run = Run.of(model, data_name=data, settings={} if epochs is None else {"epochs": epochs})
    train, settings = run.datasets()["train"], run.settings
    torch.manual_seed(settings.seed)
    pair = run.build()
    if by == "pyro":
        from gallery.bench import stock

        take_steps = stock.stepper(pair, train.x, train.given, settings)
    else:
        from gallery.bench import numpyro_svi

        case = f"{model}:continuous_bernoulli" if run.keywords.get("likelihood") == "continuous_bernoulli" else model
        take_steps = numpyro_svi.stepper(case, pair, train.x, settings, numpyro_svi.STEPS)
    losses = take_steps(math.ceil(settings.epochs * len(train.x) / settings.batch_size))
    file.write_text(json.dumps([float(loss) for loss in losses]))


if __name__ == "__main__":
    _, by, model, file, *options = sys.argv
    flags = dict(option.split("=") for option in options)
    write_losses(by, model, flags.get("data"), int(flags["epochs"]) if "epochs" in flags else None, Path(file))
