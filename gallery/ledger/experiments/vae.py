"""What beta trades: the same VAE with another weight on its KL each time, as distortion against rate.

-ELBO = rate + distortion, rate KL(q || p) and distortion -E[log p(x | z)]. A fit at beta minimises beta rate +
distortion, so a large beta buys short codes with bad pictures. Only at beta = 1 is what is minimised a bound.

    Alemi et al., Fixing a broken ELBO, 2018.
"""

import json
from dataclasses import replace
from pathlib import Path

import torch

from gallery.figures import rate_distortion, save
from gallery.runs import training as runs
from inference import SVI, evaluate
from inference.files import write_atomically

BETAS = (0.1, 0.5, 1.0, 2.0, 4.0, 10.0)


def reproduce(folder: Path, fitted: Path, betas: tuple[float, ...] = BETAS) -> dict:
    """Fits the run in `fitted` anew with each beta; writes rate_distortion.json, of test data, in nats per data point, and
    its figure."""
    run, _ = runs.load(fitted)
    splits = run.datasets()
    points = []
    for beta in betas:
        torch.manual_seed(run.settings.seed)
        pair = run.build()
        train = splits["train"]
        for _ in SVI(pair, train.x, train.given, replace(run.settings, beta=beta), train.transform):
            pass
        judged = evaluate(pair, splits["test"].scored(), particles=1)
        points.append({"beta": beta, **{name: judged[name]["value"] for name in ("kl", "reconstruction", "elbo")}})
    result = {"unit": "nats per data point", "data": run.data, "points": points}
    save(rate_distortion(points), folder / "rate_distortion.png")
    write_atomically(folder / "rate_distortion.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
