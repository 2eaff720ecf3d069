"""The sentence on Pareto k-hat: low for a good guide, high for a narrow one, absent where undefined."""

import re

import pytest
from built_site import fit_undrawn

from gallery.report.site.k_hat import k_hat_verdict
from gallery.runs.specification import Run
from inference.fit.checkpoint import load_tensors, save_tensors

pytestmark = pytest.mark.integration


def test_k_hat_is_low_for_a_good_guide_and_high_for_a_narrow_one(tmp_path):
    """The narrow guide is ten times too narrow: k is 0.99. k-hat from 400 draws is 0.92 with an error of 0.22, so above
    0.7 for 84 % of the data points; for 50 of them that share has an error of 5 %."""
    folder = tmp_path / "run"
    fit_undrawn(Run.of("factor_analysis", None, None, {}, {"epochs": 20, "precision": "float32"}), folder)
    good = k_hat_verdict(folder)
    weights, about = load_tensors(folder / "weights.safetensors")
    weights["phi.L"] = weights["phi.L"] / 10
    save_tensors(folder / "weights.safetensors", weights, about)
    above = [int(re.search(r"for (\d+) %", text)[1]) for text in (good, k_hat_verdict(folder))]
    assert above[0] < 20 < 84 - 4 * 5 < above[1]


def test_k_hat_is_absent_without_importance_weights(tmp_path):
    for name in ("linear_regression", "exponential_gaussian:per_datum"):
        fit_undrawn(Run.of(name, None, None, {}, {"epochs": 1}), tmp_path / name)
        assert k_hat_verdict(tmp_path / name) is None
    assert k_hat_verdict(tmp_path) is None
