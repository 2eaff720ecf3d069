"""Classify by Bayes' rule, with a bound in place of the evidence of each class."""

import torch
from torch import Tensor

from inference.evaluation.estimate import NATS, Estimate
from inference.evaluation.log_weights import importance_terms
from inference.pairs.pair import Pair
from inference.pairs.run import eval_mode

__all__ = ["accuracy", "class_bounds", "label_metrics"]


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
