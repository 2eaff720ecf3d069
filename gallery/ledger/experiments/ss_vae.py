"""The value of unlabelled images to a classifier, the regions of classes in a plane of codes, and calibration.

By number of labels: on the embedded digits M2, which is fitted to all images, beside classifiers fitted to the labelled
images alone: the network of q(y | x) itself, linear classifiers, and a support vector machine with a Gaussian kernel.
M2 classifies by its guide, q(y | x), or by Bayes' rule with its bounds on log p(x | y).

In a plane: the two-dimensional codes of a VAE, classified by a linear support vector machine fitted to the codes of the
labelled images, and by the guide of a fitted M2 applied to the image that the VAE decodes from each point.

Calibration: how often M2 is right among the test images of which it is equally sure, by its guide and by Bayes' rule.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from torch import Tensor, nn

import data
from gallery.catalogue.recipes import RECIPES
from gallery.figures import labels_grow, parted_plane, save
from gallery.figures.labels import margins as draw_margins
from gallery.figures.labels import reliability
from gallery.ledger.experiments.margins import margins, numbers
from gallery.models.ss_vae import SSVAE
from gallery.models.vae import VAE
from gallery.runs import training
from gallery.runs.prepare import noise_of
from gallery.runs.specification import Run
from inference import SVI, Pair
from inference.evaluation.classification import accuracy, calibration, class_bounds
from inference.evaluation.estimate import Estimate
from inference.evaluation.probes import features, probe
from inference.files import write_atomically
from inference.pairs.streams import seeded
from inference.products import using_products

__all__ = ["errors", "kernel_svm", "network_alone", "plane", "reproduce", "sureness"]

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
        "the same network, labels alone", "linear SVM", "kernel SVM"}; all but the first two classify by the pixels of
        the labelled images
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
            right["kernel SVM"] = kernel_svm(train.x[known], train.labels[known], test.x, test.labels)
            logits = network_alone(train.x[known], train.labels[known], settings | {"seed": draw})(test.x)
            right["the same network, labels alone"] = accuracy(logits, test.labels)["value"]
            result.append({"labels": count, "draw": draw, **{name: 1 - value for name, value in right.items()}})
    return result


def network_alone(x: Tensor, labels: Tensor, settings: dict[str, Any] = SETTINGS) -> nn.Module:
    """Train the network of q(y | x) on the labelled images alone, by cross-entropy: (n, data_dim) to logits.

    :param settings: "epochs" and "lr"; the rate falls as a cosine over `epochs` times 10 minibatches
    """
    steps = settings["epochs"] * 10
    with seeded(settings.get("seed", 0), "network alone"), using_products(), torch.enable_grad():
        network = SSVAE(data_dim=x.shape[1], **NETWORKS).classifier
        optimiser = torch.optim.Adam(network.parameters(), settings["lr"])
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            rows = torch.randint(len(x), (min(100, len(x)),))
            loss = nn.functional.cross_entropy(network(x[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.requires_grad_(False).eval()


def kernel_svm(x: Tensor, labels: Tensor, test_x: Tensor, test_labels: Tensor) -> float:
    """Return the accuracy of a support vector machine with a Gaussian kernel on pixels.

    Its C is chosen among 1, 10 and 100 by two-fold cross-validation on the labelled images.
    """
    svm = GridSearchCV(SVC(kernel="rbf", gamma="scale"), {"C": [1.0, 10.0, 100.0]}, cv=2)
    return float(svm.fit(x.numpy(), labels.numpy()).score(test_x.numpy(), test_labels.numpy()))


def sureness(fitted: Path, particles: int = 16) -> dict[str, Any]:
    """Compute the calibration of a fitted M2 on test images.

    :param fitted: folder of a fitted M2
    :param particles: draws of z of each bound of Bayes' rule
    :return: by "q(y | x)" and "Bayes' rule": `inference.evaluation.classification.calibration`
    """
    run, m2 = training.load(fitted)
    test = run.datasets()["test"]
    assert test.labels is not None
    assert test.classes is not None
    with torch.no_grad():
        by_guide = cast(SSVAE, m2).classify(test.scored())
    by_rule = class_bounds(m2, test.scored(), test.classes, particles).double().softmax(1)
    ways = {"q(y | x)": by_guide, "Bayes' rule": by_rule}
    return {name: calibration(p, test.labels) for name, p in ways.items()}


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
    """Write labels.json, calibration.json, margins.json and the figures, and return the content of the first.

    :param fitted: folder of a fitted M2
    """
    grown, parted, sure = errors(), plane(fitted), sureness(fitted)
    write_atomically(folder / "calibration.json", (json.dumps(sure, indent=2) + "\n").encode())
    save(reliability(sure), folder / "calibration.png")
    boundaries = margins()
    write_atomically(folder / "margins.json", (json.dumps(numbers(boundaries), indent=2) + "\n").encode())
    save(draw_margins(boundaries), folder / "margins.png")
    save(labels_grow(grown), folder / "labels_grow.png")
    save(parted_plane(parted), folder / "plane.png")
    result = {"unit": "fraction of test images", "errors": grown, "plane": parted["accuracy"]}
    write_atomically(folder / "labels.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
