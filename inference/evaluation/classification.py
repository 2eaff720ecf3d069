"""Bayes' rule with a bound in place of the evidence: which class explains x best?"""

import math

import torch
from torch import Tensor, nn

from inference.evaluation.log_weights import draws
from inference.pairs.run import eval_mode


def class_bounds(pair: nn.Module, x: Tensor, classes: int, particles: int = 1, seed: int = 0) -> Tensor:
    """ELBO of x under every class, (n, classes) in nats, where `given` is a class; the same noise for all."""
    columns = []
    for y in range(classes):
        with eval_mode(pair, seed):
            given = torch.full((len(x),), y, device=x.device)
            columns.append(draws(pair, x, given, particles)["elbo"].mean(0))
    return torch.stack(columns, dim=1)


def label_metrics(bounds: Tensor, labels: Tensor) -> dict[str, dict]:
    """From (n, classes) bounds: "accuracy" of argmax_y ELBO(x, y) under a uniform p(y), and "wrong_label_cost", the
    nats that a wrong label, averaged over all wrong ones, takes from the ELBO; with standard errors over data."""
    classes = bounds.shape[1]
    right = bounds.gather(1, labels.unsqueeze(1)).squeeze(1)
    cost = right - (bounds.sum(1) - right) / (classes - 1)
    return {"accuracy": accuracy(bounds, labels), "wrong_label_cost": entry(cost, "nats per data point")}


def accuracy(scores: Tensor, labels: Tensor) -> dict:
    """The fraction of data whose label has the highest of their (n, classes) scores, with its standard error."""
    return entry((scores.argmax(1) == labels).double(), "fraction")


def entry(values: Tensor, unit: str) -> dict:
    """The mean of one value for each datum, (n,), with its standard error over data, which one datum has not:
    {"value", "se", "n", "unit"}."""
    n = len(values)
    error = {"se": values.std().item() / math.sqrt(n)} if n > 1 else {}
    return {"value": values.mean().item(), **error, "n": n, "unit": unit}
