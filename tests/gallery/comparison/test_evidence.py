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
from gallery.figures.posterior_error import error
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
SAMPLERS = {"linear_regression": ("nuts", "pathfinder"), "gaussian_mixture": ("em",), "factor_analysis": ("em",)}


SLOW = ("exponential_gaussian", "linear_regression")  # one of each kind of model is left: local, global, summed out


@pytest.mark.parametrize("model", [pytest.param(m, marks=[pytest.mark.slow] * (m in SLOW)) for m in GUIDES])
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
        if row["name"] in ("nuts", "pathfinder"):
            assert row["largest_z"] < 4
            if row["name"] == "pathfinder":  # exact, since the posterior is normal
                assert row["path_elbo"]["value"] == pytest.approx(rows[0]["evidence"]["value"], abs=1e-8)
                assert row["passes"] == (row["gradients"] + row["densities"]) * row["n"]
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
    assert chains["ess_per_gradient"] == pytest.approx(chains["ess"] / chains["gradients"])
    assert chains["largest_z"] > 0
    weights, _ = load_tensors(Row("trace", "own", 0).file(tmp_path, ".safetensors"))
    start = comparing("factor_analysis").pair(Row("trace", "own", 0), data.load("factor_analysis")).state_dict()
    assert not torch.equal(weights["theta.W"], start["theta.W"])


def test_several_latents_are_compared_with_the_posterior_of_their_coordinates(tmp_path):
    """Of mu, tau and theta, for guides and samplers; largest errors of ten means in sds of the posterior."""
    settings = {"epochs": 800, "batch_size": 8, "particles": 64, "lr": 3e-2}
    comparison = comparing("eight_schools", samplers=("nuts", "pathfinder:20"), nuts_draws=60, settings=settings)
    result, _ = compared(comparison, tmp_path)
    guide, chains, paths = result["rows"]
    assert paths["largest_z"] < 4
    assert paths["k_hat"] < 1
    assert max(chains["largest_error"], guide["posterior"]["largest_error"]) < 0.5
    _, of_guide, of_samplers = (table for table in tables(result) if not isinstance(table, str))
    assert "error of the sd, sd" in [column.header for column in of_guide.columns]
    assert "exact posterior" in str(of_guide.caption)
    assert "k-hat" in [column.header for column in of_samplers.columns]


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
    lines = [line.get_ydata() for line in bound(result).axes[0].lines]
    level = [y for y in lines if len(y) > 1 and len(set(y)) == 1]
    six_digits = pytest.approx([exact], rel=5e-6)  # as curves have
    assert [y[0] for y in level] == six_digits  # one line: the model has no weights to fit


def test_modes_calibration_and_errors_of_guides_beside_gradients(tmp_path):
    comparison = comparing("squared_gaussian", samplers=("nuts",), nuts_draws=20, settings={"epochs": 3})
    result, _ = compared(comparison, tmp_path)
    fit, chains = result["rows"]
    modes = fit["posterior"]["modes"]
    assert 0 < modes["n"] <= 100
    assert modes["covered"] <= modes["modes"] <= 2
    assert fit["calibration"].keys() == {"p_value", "spread", "simulations", "draws"}
    assert fit["calibration"]["p_value"] < 1e-4  # one normal is no posterior of two modes
    assert fit["gradients"] == fit["curve"][-1]["step"]  # one draw a step
    assert fit["passes"] == comparison.run.settings.batch_size * fit["gradients"]
    assert chains["curve"][-1]["gradients"] == chains["gradients"]
    ax = error(result).axes[0]
    for line, row in zip(ax.lines, (fit, chains), strict=True):
        assert [*line.get_xdata()] == [point["gradients"] for point in row["curve"] if point["gradients"]]
        assert line.get_ydata()[-1] == row["curve"][-1]["error"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    shown = {table.columns[0].header: table for table in tables(result) if not isinstance(table, str)}
    assert {"modes", "covered", "overlap"} <= {column.header for column in shown["posterior"].columns}
    assert "SBC: p-value" in {column.header for column in shown["fit"].columns}
    assert "640 data points simulated" in shown["fit"].caption.plain
    assert (tmp_path / "error.png").exists()


SHARED = """
import pyro
import pyro.distributions as dist
import torch
from torch import nn


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.q = nn.ParameterDict({"loc": torch.zeros(()), "log_scale": torch.zeros(())})

    def model(self, x, total=None):
        m = pyro.sample("m", dist.Normal(x.new_zeros(()), x.new_full((), 3.0)))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("x", dist.Normal(m.unsqueeze(-1) + torch.zeros_like(x), 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module("q", self.q)
        pyro.sample("m", dist.Normal(self.q["loc"], self.q["log_scale"].exp()))
"""


def test_nuts_is_the_reference_of_a_model_without_exact_posterior(tmp_path):
    (tmp_path / "shared.py").write_text(SHARED)
    model, data = f"{tmp_path / 'shared.py'}:Shared", "exponential_gaussian"
    for draws, words in ((300, None), (4, "NUTS is no reference: R-hat")):
        comparison = comparing(model, data=data, samplers=("nuts",), nuts_draws=draws)
        result, _ = compared(comparison, tmp_path / str(draws))
        posterior = result["rows"][0]["posterior"]
        lines = [part for part in tables(result) if isinstance(part, str)]
        if words is None:
            assert posterior["draws"] == 2 * draws
            assert posterior["largest_error"] > 0
            assert 0 < posterior["reference_error"] < 0.5
            captions = [part.caption.plain for part in tables(result) if not isinstance(part, str)]
            assert any("draws of NUTS, which stand for the posterior" in caption for caption in captions)
        else:
            assert words in posterior["undefined"]
            assert any(line.startswith("no comparison with the posterior: trace: NUTS is no") for line in lines)
    assert "error" not in result["rows"][0]["curve"][0]
    assert not (tmp_path / "300" / "error.png").exists()
