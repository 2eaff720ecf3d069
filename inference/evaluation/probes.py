"""Probes of codes: plain classifiers, fitted to codes or raw pixels of training data and scored on test data."""

import warnings

import numpy as np
import torch
from torch import Tensor

from inference.errors import InferenceError
from inference.evaluation.estimate import Estimate
from inference.evaluation.predictive import encode
from inference.pairs.pair import Pair

__all__ = ["features", "probe"]

MAX_ITERATIONS = 1000  # of the solvers of the linear classifiers


def features(pair: Pair, x: Tensor, given: Tensor | None = None, seed: int = 0) -> Tensor:
    """Encode x and join the codes of all latent sites: (n, width).

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :param seed: of the noise of codes that are drawn
    :raises InferenceError: if a latent is global, so that data points have no codes
    """
    codes = encode(pair, x, given, seed)
    if any(len(code) != len(x) for code in codes.values()) or not codes:
        raise InferenceError(f"a probe needs a code for each data point; {type(pair).__name__} has none.")
    return torch.cat([code.reshape(len(x), -1) for code in codes.values()], dim=1)


def probe(
    x: Tensor, labels: Tensor | None, test_x: Tensor, test_labels: Tensor | None, neighbours: int = 10
) -> dict[str, Estimate]:
    """Measure the accuracy on test rows of three classifiers fitted to training rows, codes or raw pixels (n, ...).

    "logistic_regression" and "linear_svm" are linear in the columns, each of which is standardised to mean 0 and
    variance 1 (scikit-learn's penalty, C = 1). "nearest_neighbours" is the majority of the nearest rows by Euclidean
    distance, without standardisation.

    :param neighbours: number of nearest rows that vote
    :return: for each classifier a fraction with its binomial standard error, over test data, at this training set. A
        linear classifier that reached the maximum number of iterations has "converged": False
    :raises InferenceError: if labels are missing or not one for each row, rows are not finite, training labels have
        fewer than two classes, or `neighbours` exceeds the training rows
    """
    from sklearn.exceptions import ConvergenceWarning  # here, so that the package imports without scikit-learn
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    labels, test_labels = _checked(x, labels), _checked(test_x, test_labels)
    if labels.unique().numel() < 2:
        raise InferenceError("a probe needs training data of at least two classes.")
    if not 1 <= neighbours <= len(x):
        raise InferenceError(f"neighbours must be between 1 and the {len(x)} training rows; got {neighbours}.")
    train_rows, test_rows = (t.detach().cpu().double().flatten(1).numpy() for t in (x, test_x))
    train_classes, test_classes = (t.cpu().numpy() for t in (labels, test_labels))
    classifiers = {
        "logistic_regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS)),
        "linear_svm": make_pipeline(StandardScaler(), LinearSVC(dual=False, max_iter=MAX_ITERATIONS)),
        "nearest_neighbours": KNeighborsClassifier(neighbours),
    }
    result = {}
    for name, classifier in classifiers.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fraction = float(classifier.fit(train_rows, train_classes).score(test_rows, test_classes))
        result[name] = Estimate.of_fraction(fraction, len(test_classes))
        if name != "nearest_neighbours" and np.max(classifier[-1].n_iter_) >= MAX_ITERATIONS:
            result[name]["converged"] = False
    return result


def _checked(rows: Tensor, classes: Tensor | None) -> Tensor:
    """Return the classes, if there is one for each row."""
    if classes is None:
        raise InferenceError("a probe needs labels, and these data have none.")
    if len(rows) != len(classes) or len(rows) == 0:
        raise InferenceError(f"a probe needs one label for each row; got {len(classes)} labels and {len(rows)} rows.")
    if not torch.isfinite(rows).all():
        raise InferenceError("a probe needs finite codes: some are not.")
    return classes
