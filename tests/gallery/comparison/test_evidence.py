"""Rows of a comparison against models whose evidence and posterior are known.

Bars are 4 standard errors of the same draws, which one comparison in 16,000 exceeds by chance, unless a bound is named.
"""

import math

import pytest
import torch
from comparisons import compared, comparing

import data
from gallery.comparison import Row, tables
from gallery.comparison.report import groups
from gallery.figures.comparison import bound
from inference import sample
from inference.evaluation.ais import gradients
from inference.fit.checkpoint import load_tensors

pytestmark = pytest.mark.integration

OBJECTIVES = ("trace", "analytic", "enum", "score", "graph", "iwae:5", "dreg:5", "renyi:0.5:5", "wake-sleep:5")
GUIDES = {  # to compare beside the model's own
    "exponential_gaussian": ("gamma", "normal"),
    "linear_regression": ("mean_field", "multivariate", "laplace"),
    "loaded_die": ("softmax",),
    "gaussian_mixture": (),
    "factor_analysis": ("diagonal", "normal"),
}
SAMPLERS = {"linear_regression": ("nuts",), "gaussian_mixture": ("em",), "factor_analysis": ("em",)}


@pytest.mark.parametrize("model", GUIDES)
def test_rows_are_within_their_errors_of_the_evidence_or_below(model, tmp_path):
    settings = {
        "epochs": 2,
        "batch_size": 200,
    }  # full batch where a latent is global: its log-weights are joint over the data
    samplers = SAMPLERS.get(model, ())
    result, _ = compared(comparing(model, OBJECTIVES, samplers=samplers, nuts_draws=100, settings=settings), tmp_path)
    rows = result["rows"]
    if GUIDES[model]:
        rows += compared(comparing(model, guides=GUIDES[model], settings=settings), tmp_path / "guides")[0]["rows"]
    assert [row["reason"] for row in rows if row["status"] == "failed"] == []
    for row in rows:
        if row["name"] == "nuts":
            assert row["largest_z"] < 4
        elif row["name"] == "em":  # its evidence never falls
            curve = [point["train evidence"] for point in row["curve"]]
            assert curve == sorted(curve)
        else:
            evidence, elbo, iwae = (row[name]["value"] for name in ("evidence", "elbo", "iwae"))
            assert row["gap"]["value"] > -4 * row["gap"]["mc_se"] - 1e-8, row["label"]
            # where the error of joint weights is not known, Markov's: their mean is 16,000 times its expectation in at
            # most one of 16,000 cases
            error = 4 * row["iwae"]["mc_se"] if "mc_se" in row["iwae"] else math.log(16_000) / row["iwae"]["n"]
            assert evidence - iwae > -error - 1e-8, row["label"]
            assert iwae >= elbo - 1e-9  # of the same draws, by Jensen's inequality
        if row["label"] in ("enum", "trace, laplace"):  # no latent remains; the posterior is a normal
            assert abs(row["gap"]["value"]) < 1e-8
    assert {row["name"] for row in rows} >= {"enum" if model == "gaussian_mixture" else "score", *samplers}


def test_nuts_samples_the_latents_of_a_few_data_at_fitted_weights(tmp_path):
    result, _ = compared(comparing("factor_analysis", samplers=("nuts",), nuts_draws=4), tmp_path)
    chains = result["rows"][1]
    assert (chains["at"], chains["n"]) == ("trace", 10)
    assert chains["passes"] == 10 * chains["gradients"]
    assert chains["ess_per_gradient"] == chains["ess"] / chains["gradients"]
    assert chains["largest_z"] > 0
    weights, _ = load_tensors(Row("trace", "own", 0).file(tmp_path, ".safetensors"))
    start = comparing("factor_analysis").pair(Row("trace", "own", 0), data.load("factor_analysis")).state_dict()
    assert not torch.equal(weights["theta.W"], start["theta.W"])


def test_annealing_bounds_the_evidence_of_the_fitted_model_from_both_sides(tmp_path):
    """On simulated data the exact evidence lies between the bounds up to their noise. The standard error over data of
    the difference of the bounds has the noise of both."""
    comparison = comparing("factor_analysis", ("trace", "score"), samplers=("ais:60", "em"))
    result, log = compared(comparison, tmp_path)
    (bounds,) = (row for row in result["rows"] if row["label"] == "ais:60")
    low, exact, high = (bounds[name]["value"] for name in ("lower", "evidence", "upper"))
    assert low < exact + 4 * bounds["width"]["se"]
    assert high > exact - 4 * bounds["width"]["se"]
    assert high - low < 1  # not vacuous: prior and posterior are nats apart
    assert (bounds["at"], bounds["n"], bounds["lower"]["steps"]) == ("trace", 100, 60)
    assert bounds["gradients"] == 2 * gradients(16, 60, 10)
    assert bounds["passes"] == 100 * bounds["gradients"]
    assert all({"se", "mc_se"} <= bounds[name].keys() for name in ("lower", "upper"))
    weights, _ = load_tensors(Row("trace", "own", 0).file(tmp_path, ".safetensors"))
    pair = comparison.run.build()
    pair.load_state_dict(weights)
    x = sample(pair, data.load("factor_analysis").x.double(), 100)["x"]
    with torch.no_grad():
        assert exact == pytest.approx(pair.log_evidence(x).mean().item(), abs=1e-9)  # of the fitted model
    table = next(part for part in tables(result) if not isinstance(part, str) and part.columns[0].header == "evidence")
    cells = {column.header: next(iter(column.cells)) for column in table.columns}
    assert float(cells["log p(x) from below"]) == pytest.approx(low, rel=1e-4)
    assert float(cells["from above"]) == pytest.approx(high, rel=1e-4)
    assert "weights of trace" in table.caption.plain
    assert {label for label, _ in groups(result["rows"])} == {"trace", "score", "em"}  # on other data than the fits
    assert [line for line in log if "ais:60 seed 0: from below" in line]


def test_a_point_has_no_bound_and_comes_last(tmp_path):
    result, _ = compared(comparing("linear_regression", guides=("delta", "own")), tmp_path)
    assert [label for label, _ in groups(result["rows"])] == ["trace", "trace, delta"]
    point = result["rows"][0]
    assert "elbo" not in point
    assert "is a point" in point["undefined"]["elbo"]
    exact = result["rows"][1]["evidence"]["value"]
    level = [line.get_ydata() for line in bound(result).axes[0].lines if len(set(line.get_ydata())) == 1]
    assert [y[0] for y in level] == pytest.approx([exact])  # one line: the model has no weights to fit
