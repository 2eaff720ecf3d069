"""Classify by Bayes' rule, with a bound in place of the evidence of each class; accuracy and calibration."""

from typing import Any

import torch
from torch import Tensor

from inference.evaluation.estimate import NATS, Estimate
from inference.evaluation.log_weights import importance_terms
from inference.pairs.pair import Pair
from inference.pairs.run import eval_mode

__all__ = ["accuracy", "calibration", "class_bounds", "label_metrics"]


def class_bounds(pair: Pair, x: Tensor, classes: int, particles: int = 1, seed: int = 0) -> Tensor:
    """Estimate the ELBO of every data point under every class, (n, classes) in nats, where `given` is the class.

    All classes share the same noise.
    """
    columns = []
    for y in range(classes):
        with eval_mode(pair, seed, "class_bounds"):
            given = torch.full((len(x),), y, device=x.device)
            columns.append(importance_terms(pair, x, given, particles)["elbo"].mean(0))
    return torch.stack(columns, dim=1)


def label_metrics(bounds: Tensor, labels: Tensor) -> dict[str, Estimate]:
    """Compare the bounds of all classes with the labels.

    :param bounds: (n, classes) in nats, from `class_bounds`
    :param labels: (n,) integers from 0 on
    :return: "accuracy" of argmax_y ELBO(x, y) under a uniform p(y), and "wrong_label_cost", the ELBO of the right label
        less that of a wrong one, averaged over the wrong ones, in nats per data point
    """
    classes = bounds.shape[1]
    right = bounds.gather(1, labels.unsqueeze(1)).squeeze(1)
    cost = right - (bounds.sum(1) - right) / (classes - 1)
    return {"accuracy": accuracy(bounds, labels), "wrong_label_cost": Estimate.of_mean(cost, NATS)}


def accuracy(scores: Tensor, labels: Tensor) -> Estimate:
    """Compute the fraction of data points whose label has the highest of their scores, (n, classes)."""
    return Estimate.of_mean((scores.argmax(1) == labels).double(), "fraction")


def calibration(probabilities: Tensor, labels: Tensor, bins: int = 15) -> dict[str, Any]:
    """Compare how sure a classifier is with how often it is right.

    Data points are put into bins of equal width by the probability of their most probable class. In a calibrated
    classifier the accuracy of a bin equals its mean probability.

        Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, 2017.

    >>> import torch
    >>> found = calibration(torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.6, 0.4]]), torch.tensor([0, 0, 0, 1]))
    >>> round(found["ece"], 3), round(found["confidence"], 3), found["accuracy"]
    (0.125, 0.725, 0.75)

    :param probabilities: (n, classes), each row with the sum 1
    :param labels: (n,) integers from 0 on
    :return: "ece", the expected calibration error: the distance of accuracy and probability, averaged over data points
        by their bins; "accuracy" and mean "confidence" of all; "bins" that are not empty: "confidence", "accuracy", "n"
    """
    confidence, predicted = probabilities.double().max(1)
    right, place = (predicted == labels).double(), (confidence * bins).long().clamp(max=bins - 1)
    found = [
        {"confidence": confidence[rows].mean().item(), "accuracy": right[rows].mean().item(), "n": int(rows.sum())}
        for rows in (place == i for i in place.unique())
    ]
    ece = sum(of["n"] * abs(of["accuracy"] - of["confidence"]) for of in found) / len(labels)
    return {"ece": ece, "accuracy": right.mean().item(), "confidence": confidence.mean().item(), "bins": found}
