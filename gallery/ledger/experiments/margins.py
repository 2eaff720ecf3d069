"""Boundaries of two digits in a plane: a hyperplane with its margin, a kernel, and a network trained on the labels.

A support vector machine is an optimisation: least |w|^2 / 2 + C sum of hinge losses. Its hyperplane has the scores 0,
its margin those between -1 and 1, which is 2 / |w| wide, and the data points on the wrong side of -1 or 1 alone decide
where it lies. A network that is trained on probabilities, as q(y | x) is, has a boundary too, where they are equal, and
no margin.

    Cortes and Vapnik, Support-vector networks, 1995.
"""

from typing import Any

import torch
from sklearn.svm import SVC
from torch import nn

import data
from inference.pairs.streams import seeded

__all__ = ["margins", "numbers"]

CLASSES, SHOWN, SIDE = (4, 9), 100, 80
STEPS = 500  # of the network


def margins(shown: int = SHOWN, C: float = 1.0) -> dict[str, Any]:
    """Classify two classes of the embedded digits by the first two principal components of their pixels.

    :param shown: number of labelled images, the first of the two classes
    :param C: weight of the hinge losses
    :return: "codes" and "labels" of these images; "between", the ranges of the plane; for each classifier its "error"
        on test images, its "scores" on a SIDE x SIDE grid, and for a support vector machine the indices "support" and,
        where it is linear, the width of the "margin"
    """
    rows = {split: data.load("digits:grey", split) for split in ("train", "test")}
    picked = {}
    for split, of in rows.items():
        assert of.labels is not None
        chosen = (of.labels == CLASSES[0]) | (of.labels == CLASSES[1])
        picked[split] = of.x[chosen].double(), of.labels[chosen]
    x, labels = picked["train"]
    centre = x.mean(0)
    axes = torch.linalg.svd(x - centre, full_matrices=False)[2][:2].T  # (64, 2)
    axes = axes * axes.sum(0).sign()  # the sign of a singular vector is arbitrary
    codes, y = ((x - centre) @ axes)[:shown], labels[:shown]
    test, test_y = (picked["test"][0] - centre) @ axes, picked["test"][1]
    low, high = codes.amin(0) - 0.2, codes.amax(0) + 0.2
    ends = zip(low.tolist(), high.tolist(), strict=True)
    ranges = [torch.linspace(least, most, SIDE, dtype=torch.float64) for least, most in ends]
    grid = torch.stack(torch.meshgrid(*ranges, indexing="xy"), dim=-1).flatten(0, 1)

    found: dict[str, dict[str, Any]] = {}
    for name, kernel in (("linear SVM", "linear"), ("Gaussian kernel", "rbf")):
        svm = SVC(kernel=kernel, C=C).fit(codes.numpy(), y.numpy())
        found[name] = {
            "error": 1 - svm.score(test.numpy(), test_y.numpy()),
            "scores": svm.decision_function(grid.numpy()).reshape(SIDE, SIDE).tolist(),
            "support": svm.support_.tolist(),
        }
        if kernel == "linear":
            found[name]["margin"] = float(2 / (svm.coef_**2).sum() ** 0.5)
    network = _network(codes, (y == CLASSES[1]).double())
    with torch.no_grad():
        wrong = (network(test).squeeze(1) > 0) != (test_y == CLASSES[1])
        scores = network(grid).reshape(SIDE, SIDE).tolist()
    found["network"] = {"error": wrong.double().mean().item(), "scores": scores}
    between = [low.tolist(), high.tolist()]
    about = {"classes": list(CLASSES), "codes": codes.tolist(), "labels": y.tolist(), "between": between}
    return about | {"C": C, "classifiers": found}


def numbers(found: dict[str, Any]) -> dict[str, Any]:
    """Return a result of `margins` without its points and its grid.

    :return: "classes", "C", the number of labelled images, and for each classifier its "error" and, of a support vector
        machine, the number of data points that decide where the boundary lies, and the width of a linear margin
    """
    kept = {
        name: {
            "error": of["error"],
            **({"support": len(of["support"])} if "support" in of else {}),
            **({"margin": of["margin"]} if "margin" in of else {}),
        }
        for name, of in found["classifiers"].items()
    }
    return {"classes": found["classes"], "C": found["C"], "shown": len(found["codes"]), "classifiers": kept}


def _network(codes: torch.Tensor, target: torch.Tensor) -> nn.Module:
    """Train a network with one hidden layer by cross-entropy: (n, 2) to logits (n, 1)."""
    with seeded(0, "margins"), torch.enable_grad():
        network = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1)).double()
        optimiser = torch.optim.Adam(network.parameters(), 1e-2)
        for _ in range(STEPS):
            loss = nn.functional.binary_cross_entropy_with_logits(network(codes).squeeze(1), target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network
