"""Probes of codes: accuracy where classes can be separated, and refusals."""

import math

import pytest
import torch
from autoencoder_cases import digits, fitted

from inference import InferenceError
from inference.evaluation.probes import features, probe


def test_a_probe_tells_classes_that_can_be_told_and_no_others():
    n = 400
    labels, test_labels = torch.randint(3, (n,)), torch.randint(3, (n,))
    told, untold = (lambda y: torch.eye(3)[y] + 0.05 * torch.randn(n, 3)), (lambda y: torch.randn(n, 3))
    for accuracy in probe(told(labels), labels, told(test_labels), test_labels).values():
        assert accuracy == {"value": 1.0, "se": 0.0, "n": n, "unit": "fraction"}
    for accuracy in probe(untold(labels), labels, untold(test_labels), test_labels).values():
        assert accuracy["se"] == pytest.approx(math.sqrt(accuracy["value"] * (1 - accuracy["value"]) / n))
        assert abs(accuracy["value"] - 1 / 3) < 5 * accuracy["se"]


@pytest.mark.integration
def test_codes_and_raw_pixels_are_judged_alike():
    train, test = digits()
    pair = fitted("autoencoder", 12)
    of_codes = probe(features(pair, train.x), train.labels, features(pair, test.x), test.labels)
    of_pixels = probe(train.x, train.labels, test.x, test.labels)
    assert of_codes.keys() == of_pixels.keys() == {"logistic_regression", "linear_svm", "nearest_neighbours"}
    for judged in (of_codes, of_pixels):
        assert all(accuracy["value"] > 0.85 and accuracy["n"] == len(test) for accuracy in judged.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": None}, "needs labels"),
        ({"labels": torch.zeros(3)}, "one label for each row"),
        ({"labels": torch.zeros(20)}, "two classes"),
        ({"x": torch.full((20, 2), math.nan)}, "finite"),
        ({"neighbours": 21}, "20 training rows"),
    ],
)
def test_what_cannot_be_probed_is_refused(change, words):
    x, y = torch.rand(20, 2), torch.arange(20) % 2
    with pytest.raises(InferenceError, match=words):
        probe(**{"x": x, "labels": y, "test_x": x, "test_labels": y, **change})
