"""The value of unlabelled images to a classifier, and the regions of classes in a plane of codes.

By number of labels: on the embedded digits M2, which is fitted to all images, beside classifiers fitted to the labelled
images alone. M2 classifies by its guide, q(y | x), or by Bayes' rule with its bounds on log p(x | y).

In a plane: the two-dimensional codes of a VAE, classified by a linear support vector machine fitted to the codes of the
labelled images, and by the guide of a fitted M2 applied to the image that the VAE decodes from each point.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import data
from gallery.catalogue.recipes import RECIPES
from gallery.figures import labels_grow, parted_plane, save
from gallery.models.ss_vae import SSVAE
from gallery.models.vae import VAE
from gallery.runs import training
from gallery.runs.prepare import noise_of
from gallery.runs.specification import Run
from inference import SVI, Pair
from inference.evaluation.classification import accuracy, class_bounds
from inference.evaluation.estimate import Estimate
from inference.evaluation.probes import features, probe
from inference.files import write_atomically

__all__ = ["errors", "plane", "reproduce"]

LABELS, DRAWS = (20, 50, 100, 200, 500, 1000), 3
SETTINGS: dict[str, Any] = {
    "epochs": 100,
    "batch_size": 100,
    "lr": 2e-3,
    "lr_schedule": "cosine",
    "objective": "enum_analytic",
}
NETWORKS: dict[str, Any] = {"latent_dim": 16, "hidden": [128, 128]}
SIDE = 120  # points on each side of the grid over the plane


def _fit(run: Run) -> Pair:
    pair, train = run.build(), run.datasets()["train"]
    with noise_of(run):
        for _ in SVI(pair, train.x, train.given, run.settings, train.transform):
            pass
    return pair.eval()


def errors(
    labels: Sequence[int] = LABELS, draws: int = DRAWS, settings: dict[str, Any] = SETTINGS
) -> list[dict[str, Any]]:
    """Compute errors on test digits for several numbers of labels.

    :param labels: numbers of labelled images
    :param draws: number of random choices of the labelled images
    :param settings: fields of `inference.Settings`
    :return: for each number and draw {"labels", "draw", "q(y | x)", "Bayes' rule", "logistic regression",
        "linear SVM"}; the last two classify by the pixels of the labelled images
    """
    result: list[dict[str, Any]] = []
    test = data.load("digits:threshold", "test")
    assert test.labels is not None
    assert test.classes is not None
    for count in labels:
        for draw in range(draws):
            name = f"digits:threshold:{count}-labels-{draw}"
            train = data.load(name, "train")
            keywords = NETWORKS | {"alpha": 0.1 * (len(train) / count) ** 2}
            assert train.labels is not None
            pair = cast(SSVAE, _fit(Run.of("ss_vae", None, name, keywords, settings | {"seed": draw}, validation=True)))
            with torch.no_grad():
                right = {"q(y | x)": accuracy(pair.classify(test.x), test.labels)["value"]}
            bounds = class_bounds(pair, test.x, test.classes, particles=16)
            right["Bayes' rule"] = accuracy(bounds, test.labels)["value"]
            known = train.known
            by_pixels = probe(train.x[known], train.labels[known], test.x, test.labels)
            right["logistic regression"] = by_pixels["logistic_regression"]["value"]
            right["linear SVM"] = by_pixels["linear_svm"]["value"]
            result.append({"labels": count, "draw": draw, **{name: 1 - value for name, value in right.items()}})
    return result


def plane(fitted: Path, epochs: int | None = None) -> dict[str, Any]:
    """Classify a plane of codes by two classifiers.

    :param fitted: folder of a fitted M2
    :param epochs: epochs of the VAE; those of its recipe if None
    :return: {"between": the range of each axis; "classes": for each classifier a SIDE x SIDE list of rows; "codes" and
        "labels" of the labelled images; "accuracy": for each classifier the fraction of test codes in the region of
        their class, with its standard error}
    """
    run, m2 = training.load(fitted)
    train, test = (run.datasets()[split] for split in ("train", "test"))
    assert train.labels is not None
    assert test.labels is not None
    recipe = RECIPES["vae:slides"]
    settings = {} if epochs is None else {"epochs": epochs}
    base = ":".join((run.data.partition(":")[0], "threshold"))
    vae = cast(VAE, _fit(Run.of(recipe.model, recipe, base, settings=settings)))
    x = {split: data.load(base, split).x for split in (train.split, "test")}

    codes, labels = features(vae, x[train.split][train.known]), train.labels[train.known]
    of_test = features(vae, x["test"])
    between = of_test.quantile(torch.tensor([0.005, 0.995]), dim=0)  # (2, 2)
    (left, bottom), (right, top) = between.tolist()
    axes = [torch.linspace(left, right, SIDE), torch.linspace(bottom, top, SIDE)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="xy"), dim=-1).flatten(0, 1)
    svm = make_pipeline(StandardScaler(), LinearSVC(dual=False)).fit(codes.numpy(), labels.numpy())

    @torch.no_grad()
    def by_guide(z: torch.Tensor) -> torch.Tensor:
        return cast(SSVAE, m2).classify((vae.decoder(z).mean > 0.5).float()).argmax(1)

    ways = {
        "linear SVM on the codes": lambda z: torch.from_numpy(svm.predict(z.numpy())),
        "q(y | decoded code)": by_guide,
    }
    right = {name: (way(of_test) == test.labels).double().mean().item() for name, way in ways.items()}
    return {
        "between": between.tolist(),
        "classes": {name: way(grid).reshape(SIDE, SIDE).tolist() for name, way in ways.items()},
        "codes": codes.tolist(),
        "labels": labels.tolist(),
        "accuracy": {name: Estimate.of_fraction(p, len(test)) for name, p in right.items()},
    }


def reproduce(folder: Path, fitted: Path) -> dict[str, Any]:
    """Write labels.json and the two figures, and return the content of the file.

    :param fitted: folder of a fitted M2
    """
    grown, parted = errors(), plane(fitted)
    save(labels_grow(grown), folder / "labels_grow.png")
    save(parted_plane(parted), folder / "plane.png")
    result = {"unit": "fraction of test images", "errors": grown, "plane": parted["accuracy"]}
    write_atomically(folder / "labels.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
