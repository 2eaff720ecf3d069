"""Classifiers beside M2: margins, a kernel, the same network on labels alone; and calibration."""

import json
import statistics
from contextvars import Context

import numpy as np
import pytest
import torch
from torch import nn

import data
from gallery.catalogue.entries import entry
from gallery.figures.labels import labels_grow, reliability
from gallery.figures.labels import margins as draw_margins
from gallery.ledger.experiments import ss_vae
from gallery.ledger.experiments.margins import SIDE, margins, numbers
from gallery.ledger.extra_metrics import digit_judge, scores
from gallery.ledger.tables import LEDGER
from gallery.runs import training as runs
from gallery.runs.specification import Run
from inference import products
from inference.evaluation.classification import calibration


def test_support_vectors_lie_within_the_margin_and_all_others_outside():
    found = margins()
    of = found["classifiers"]["linear SVM"]
    scores = np.array(of["scores"])
    codes, sign = np.array(found["codes"]), np.where(np.array(found["labels"]) == 9, 1, -1)
    (left, bottom), (right, top) = found["between"]
    slope = (scores[0, -1] - scores[0, 0]) / (right - left), (scores[-1, 0] - scores[0, 0]) / (top - bottom)
    assert of["margin"] == pytest.approx(2 / np.hypot(*slope))  # a score of 1 is half of its width away
    by_hyperplane = scores[0, 0] + (codes - [left, bottom]) @ slope
    support = np.isin(np.arange(len(codes)), of["support"])
    assert (sign * by_hyperplane)[support].max() <= 1 + 1e-2
    assert (sign * by_hyperplane)[~support].min() >= 1 - 1e-2
    for each in found["classifiers"].values():
        assert np.shape(each["scores"]) == (SIDE, SIDE)
        assert each["error"] < 0.25
    assert "margin" not in found["classifiers"]["Gaussian kernel"]
    assert "support" not in found["classifiers"]["network"]
    assert len(draw_margins(found).axes) == 3


def test_more_weight_on_errors_narrows_the_margin():
    widths = [margins(C=C)["classifiers"]["linear SVM"]["margin"] for C in (0.1, 10.0)]
    assert widths[0] > widths[1]


def test_the_network_and_the_kernel_learn_from_the_labelled_images_alone():
    train, test = data.load("digits:threshold"), data.load("digits:threshold", "test")
    errors = {}
    for n in (50, 400):
        few, y = train.x[:n], train.labels[:n]
        network = ss_vae.network_alone(few, y, {"epochs": 10, "lr": 2e-3})
        errors[n] = (network(test.x).argmax(1) != test.labels).double().mean().item()
        assert ss_vae.kernel_svm(few, y, test.x, test.labels) > 0.5
    assert errors[400] < errors[50] < 0.6


@pytest.mark.parametrize(
    "train", [lambda x, y: ss_vae.network_alone(x, y, {"epochs": 1, "lr": 1e-3}), lambda x, y: digit_judge(x, y, 0, 1)]
)
def test_classifiers_are_trained_and_applied_with_the_products_of_a_fit(monkeypatch, train):
    """Beside any block of `using_products`, by a switch that is an attribute."""
    switch, during = ["none"], []
    monkeypatch.setattr(products, "decide", lambda: "onednn")
    monkeypatch.setattr(products, "_switch", lambda: switch[0])
    monkeypatch.setattr(products, "_set_switch", lambda value: switch.__setitem__(0, value))
    cross_entropy = nn.functional.cross_entropy

    def watched(*args):
        during.append(switch[0])
        return cross_entropy(*args)

    monkeypatch.setattr(nn.functional, "cross_entropy", watched)
    x, y = torch.rand(8, 64), torch.arange(8)
    classifier = Context().run(train, x, y)
    assert set(during) == {"bf16"}
    assert switch == ["none"]

    class Watched(nn.Module):
        def forward(self, x):
            during.append(switch[0])
            return classifier(x)

    during.clear()
    assert len(Context().run(scores, Watched(), x, 4)) == len(x)
    assert during == ["bf16", "bf16"]


@pytest.mark.parametrize(
    ("p", "right", "ece"),
    [
        ([0.8] * 10, [True] * 8 + [False] * 2, 0.0),
        ([0.8] * 10, [True] * 10, 0.2),
        ([1.0] * 4, [False] * 4, 1.0),
        ([0.55] * 5 + [0.95] * 5, [True] * 3 + [False] * 2 + [True] * 4 + [False], 0.1),
    ],
)
def test_calibration_by_counting(p, right, ece):
    p, labels = torch.tensor(p), torch.where(torch.tensor(right), 1, 0)
    found = calibration(torch.stack([1 - p, p], 1), labels, bins=10)
    assert found["ece"] == pytest.approx(ece, abs=1e-6)
    assert found["confidence"] == pytest.approx(p.mean().item())
    assert sum(of["n"] for of in found["bins"]) == len(p)


def test_labels_that_are_drawn_from_the_probabilities_are_calibrated():
    torch.manual_seed(0)
    p = torch.rand(20_000, 4, dtype=torch.float64).softmax(1)
    found = calibration(p, torch.multinomial(p, 1).squeeze(1))
    for of in found["bins"]:
        expected = of["confidence"]
        assert abs(of["accuracy"] - expected) < 4.5 * (expected * (1 - expected) / of["n"]) ** 0.5


@pytest.mark.integration
def test_where_classifiers_of_the_labels_alone_pass_m2():
    """As the page of ss_vae states it, of the medians over label sets in the ledger."""
    (where,) = [row["where"] for row in entry("ss_vae").sources if "auxiliary task" in row["where"]]
    assert "the network of q(y | x) gains from it up to 1000 labels" in where
    rows = json.loads((LEDGER / "experiments" / "ss_vae" / "labels.json").read_text())["errors"]
    counts = sorted({row["labels"] for row in rows})
    assert counts[-1] == 1000

    def medians(name):
        return [statistics.median(row[name] for row in rows if row["labels"] == count) for count in counts]

    alone, kernel = medians("the same network, labels alone"), medians("kernel SVM")
    guide, rule = medians("q(y | x)"), medians("Bayes' rule")
    assert all(a > b for a, b in zip(alone, guide, strict=True))
    passed = [n for n, a, *m2 in zip(counts, kernel, guide, rule, strict=True) if a < min(m2)]
    assert passed == [100, 200, 500, 1000]
    assert f"from {passed[0]} labels on a kernel machine without it errs less" in where


def test_the_numbers_of_margins_leave_out_points_and_grid():
    found = margins()
    kept = numbers(found)
    assert kept["shown"] == 100
    assert kept["classifiers"]["network"] == {"error": found["classifiers"]["network"]["error"]}
    assert kept["classifiers"]["linear SVM"]["support"] == len(found["classifiers"]["linear SVM"]["support"])
    assert len(json.dumps(kept)) < 500


def test_calibration_of_a_fitted_pair(tmp_path):
    run = Run.of("ss_vae", None, "digits:threshold:50-labels", ss_vae.NETWORKS, {"epochs": 2, "objective": "enum"})
    runs.start(run, tmp_path / "run")
    found = ss_vae.sureness(tmp_path / "run", particles=2)
    assert list(found) == ["q(y | x)", "Bayes' rule"]
    assert len(reliability(found).axes) == 2
    rows = [{"labels": n, "draw": 0, **{f"way {i}": 0.1 * i for i in range(6)}} for n in (20, 100)]
    assert len(labels_grow(rows).axes[0].texts) == 6
