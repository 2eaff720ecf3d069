"""What is a code good for? Plain classifiers of codes, or of raw pixels, fitted to some data and judged on others."""

import math
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.evaluation.predictive import encode

STEPS = 1000  # of the solvers of the linear classifiers


def features(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> Tensor:
    """The code of x as `encode` has it, all latent sites side by side: (n, width).

    :raises InferenceError: if a latent is global, so that data have no codes of their own
    """
    codes = encode(pair, x, given)
    if any(len(code) != len(x) for code in codes.values()) or not codes:
        raise InferenceError(f"{type(pair).__name__} has no code for each datum, so there is nothing to probe.")
    return torch.cat([code.reshape(len(x), -1) for code in codes.values()], dim=1)


def probe(x: Tensor, labels: Tensor, test_x: Tensor, test_labels: Tensor, neighbours: int = 10) -> dict[str, dict]:
    """Accuracy on the test rows of three classifiers fitted to the training rows, codes or raw pixels (n, ...):

    "logistic_regression" and "linear_svm", linear in the columns, each of which is brought to mean 0 and variance 1
    (scikit-learn's penalty, C = 1), and "nearest_neighbours", the majority of the nearest by Euclid's distance between
    the rows as they are.

    :param neighbours: how many of them vote
    :return: for each {"value", "se", "n", "unit": "fraction"}: the standard error is binomial, over test data, at this
        training set; a linear one that ran out of steps has "converged": False
    :raises InferenceError: if rows and labels do not go together, or are too few
    """
    for rows, classes in ((x, labels), (test_x, test_labels)):
        if classes is None:
            raise InferenceError("a probe needs labels, and the data have none.")
        if len(rows) != len(classes) or len(rows) == 0:
            raise InferenceError(f"a probe needs as many labels as rows: there are {len(classes)} and {len(rows)}.")
        if not torch.isfinite(rows).all():
            raise InferenceError("a probe needs finite codes: some are not.")
    if labels.unique().numel() < 2:
        raise InferenceError("a probe needs training data of at least two classes.")
    if not 1 <= neighbours <= len(x):
        raise InferenceError(f"neighbours lies between 1 and the {len(x)} training rows: {neighbours} does not.")
    fit, judged = (t.detach().cpu().double().flatten(1).numpy() for t in (x, test_x))
    classes, truth = (t.cpu().numpy() for t in (labels, test_labels))
    judges = {
        "logistic_regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=STEPS)),
        "linear_svm": make_pipeline(StandardScaler(), LinearSVC(dual=False, max_iter=STEPS)),
        "nearest_neighbours": KNeighborsClassifier(neighbours),
    }
    result = {}
    for name, judge in judges.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            value = float(judge.fit(fit, classes).score(judged, truth))
        se, n = math.sqrt(value * (1 - value) / len(truth)), len(truth)
        result[name] = {"value": value, "se": se, "n": n, "unit": "fraction"}
        if name != "nearest_neighbours" and np.max(judge[-1].n_iter_) >= STEPS:
            result[name]["converged"] = False
    return result
