"""Rate and distortion of one VAE fitted with several values of beta, the weight of its KL.

-ELBO = rate + distortion, with rate KL(q || p) and distortion -E[log p(x | z)]. A fit at beta minimises beta rate +
distortion, so a large beta gives a low rate and poor reconstructions. The objective is no bound where beta < 1, and a
looser one where beta > 1, because the rate is not negative.

    Alemi et al., Fixing a broken ELBO, 2018.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import data
from gallery.figures import rate_distortion, save
from gallery.figures.originals import originals
from gallery.runs import training
from gallery.runs.prepare import noise_of
from inference import SVI, evaluate
from inference.files import write_atomically

__all__ = ["BETAS", "reproduce"]

BETAS = (0.1, 0.5, 1.0, 2.0, 4.0, 10.0)


def reproduce(folder: Path, fitted: Path, betas: tuple[float, ...] = BETAS) -> dict[str, Any]:
    """Refit a run with each beta, and write rate_distortion.json, its figure, and one of the images as they are.

    :param fitted: folder of the run
    :return: the content of the file: KL, reconstruction and ELBO of test data, nats per data point, for each beta
    """
    run, _ = training.load(fitted)
    splits = run.datasets()
    points = []
    for beta in betas:
        pair, train = run.build(), splits["train"]
        with noise_of(run):
            for _ in SVI(pair, train.x, train.given, replace(run.settings, beta=beta), train.transform):
                pass
        metrics = evaluate(pair, splits["test"].scored(), particles=1)
        points.append({"beta": beta, **{name: metrics[name]["value"] for name in ("kl", "reconstruction", "elbo")}})
    result = {"unit": "nats per data point", "data": run.data, "points": points}
    save(rate_distortion(points), folder / "rate_distortion.png")
    save(originals(data.load(f"{run.data.partition(':')[0]}:grey")), folder / "originals.png")
    write_atomically(folder / "rate_distortion.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
