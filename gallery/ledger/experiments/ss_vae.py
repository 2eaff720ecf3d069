"""What images without a label are worth, and where classes part.

As labels grow: on the embedded digits the M2, which sees all images, beside classifiers that see the labelled ones
alone. It classifies by its guide, q(y | x), or by Bayes' rule with its bounds on log p(x | y).

In a plane: the two-dimensional codes of a VAE, cut up by a linear support vector machine that knows the codes of the
labelled images, and by the guide of a fitted M2, which is asked for the class of what the VAE decodes each point to.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import nn

import data
from gallery.catalogue.recipes import RECIPES
from gallery.figures import labels_grow, parted_plane, save
from gallery.runs import training as runs
from gallery.runs.specification import Run
from inference import SVI
from inference.evaluation.classification import accuracy, class_bounds
from inference.evaluation.estimate import Estimate
from inference.evaluation.probes import features, probe
from inference.files import write_atomically

LABELS, DRAWS = (20, 50, 100, 200, 500, 1000), 3
SETTINGS = {"epochs": 100, "batch_size": 100, "lr": 2e-3, "lr_schedule": "cosine", "objective": "enum_analytic"}
NETWORKS = {"latent_dim": 16, "hidden": [128, 128]}
SIDE = 120  # points of the grid over the plane


def _fit(run: Run) -> nn.Module:
    torch.manual_seed(run.settings.seed)
    pair, train = run.build(), run.datasets()["train"]
    for _ in SVI(pair, train.x, train.given, run.settings, train.transform):
        pass
    return pair.eval()


def errors(labels: Sequence[int] = LABELS, draws: int = DRAWS, settings: dict = SETTINGS) -> list[dict]:
    """Error on test digits, for every number of labels and draw of them: {"labels", "draw", "q(y | x)",
    "Bayes' rule", "logistic regression", "linear SVM"}, the last two of the labelled images' pixels."""
    found, test = [], data.load("digits:threshold", "test")
    for count in labels:
        for draw in range(draws):
            name = f"digits:threshold:{count}-labels-{draw}"
            shown = data.load(name, "train")
            keywords = NETWORKS | {"alpha": 0.1 * (len(shown) / count) ** 2}
            pair = _fit(Run.of("ss_vae", None, name, keywords, settings | {"seed": draw}, validation=True))
            with torch.no_grad():
                right = {"q(y | x)": accuracy(pair.classify(test.x), test.labels)["value"]}
            bounds = class_bounds(pair, test.x, test.classes, particles=16)
            right["Bayes' rule"] = accuracy(bounds, test.labels)["value"]
            known = shown.known
            by_pixels = probe(shown.x[known], shown.labels[known], test.x, test.labels)
            right["logistic regression"] = by_pixels["logistic_regression"]["value"]
            right["linear SVM"] = by_pixels["linear_svm"]["value"]
            found.append({"labels": count, "draw": draw, **{name: 1 - value for name, value in right.items()}})
    return found


def plane(fitted: Path, epochs: int | None = None) -> dict:
    """A plane of codes parted twice: {"between": the least and the largest of each axis; "classes": for each of the
    two, a SIDE x SIDE list of rows; "codes" and "labels" of the labelled images; "accuracy": for each, the share of
    test codes that lie where their class is, with its error}.

    :param fitted: the folder of a fitted M2
    :param epochs: for which the VAE is fitted, if not those of its recipe
    """
    run, m2 = runs.load(fitted)
    shown, test = (run.datasets()[split] for split in ("train", "test"))
    recipe = RECIPES["vae:slides"]
    settings = {} if epochs is None else {"epochs": epochs}
    base = ":".join((run.data.partition(":")[0], "threshold"))
    vae = _fit(Run.of(recipe.model, recipe, base, settings=settings))
    x = {split: data.load(base, split).x for split in (shown.split, "test")}

    codes, labels = features(vae, x[shown.split][shown.known]), shown.labels[shown.known]
    of_test = features(vae, x["test"])
    between = of_test.quantile(torch.tensor([0.005, 0.995]), dim=0)  # (2, 2)
    axes = [torch.linspace(*between[:, i].tolist(), SIDE) for i in (0, 1)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="xy"), dim=-1).flatten(0, 1)
    svm = make_pipeline(StandardScaler(), LinearSVC(dual=False)).fit(codes.numpy(), labels.numpy())

    @torch.no_grad()
    def by_guide(z: torch.Tensor) -> torch.Tensor:
        return m2.classify((vae.decoder(z).mean > 0.5).float()).argmax(1)

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


def reproduce(folder: Path, fitted: Path) -> dict:
    """Writes labels.json, of both, and their two figures."""
    grown, parted = errors(), plane(fitted)
    save(labels_grow(grown), folder / "labels_grow.png")
    save(parted_plane(parted), folder / "plane.png")
    found = {"unit": "fraction of test images", "errors": grown, "plane": parted["accuracy"]}
    write_atomically(folder / "labels.json", (json.dumps(found, indent=2) + "\n").encode())
    return found
