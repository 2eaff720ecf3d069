"""The bound of a particle filter in fits, evaluations and comparisons; one line where a model has no steps."""

import json

import pytest
from comparisons import comparing

from gallery.comparison.report import fit_columns
from gallery.comparison.rows import Row
from gallery.comparison.work import fit, specification


def test_a_sequence_is_fitted_and_evaluated_by_a_particle_filter(run, tmp_path):
    fit = ("fit", "state_space", "--objective", "fivo:3", "--epochs", 1, "--run", "run")
    code, out, _ = run(*fit)
    assert code == 0
    assert "FIVO" not in out
    code, out, _ = run("evaluate", "run", "--particles", 4, "--fivo")
    assert code == 0
    assert "\n  FIVO-4  " in out
    metrics = json.loads(run("evaluate", "run", "--particles", 4, "--fivo", "--as-json")[1])["test"]
    bound, exact = metrics["fivo"], metrics["evidence"]
    assert (bound["k"], bound["n"], bound["unit"]) == (4, 400, "nats per data point")
    assert bound["value"] < exact["value"] + 4 * bound["mc_se"]


@pytest.mark.parametrize(
    ("model", "words", "for_fits"),
    [
        ("factor_analysis", "no latent (z) follows an observation", "iwae:K"),
        ("hmm", "is summed out exactly", "--objective enum"),
    ],
)
def test_a_model_without_steps_is_refused_in_one_line(run, model, words, for_fits):
    assert run("fit", model, "--epochs", 1, "--run", "run")[0] == 0
    code, _, err = run("evaluate", "run", "--fivo")
    assert (code, err.count("\n")) == (2, 1)
    assert words in err
    code, _, err = run("fit", model, "--objective", "fivo:4", "--run", "other")
    assert (code, err.count("\n")) == (2, 1)
    assert for_fits in err


def test_a_pair_without_bounds_is_refused_in_one_line(run):
    assert run("fit", "autoencoder", "--data", "digits:grey", "--epochs", 1, "--run", "run")[0] == 0
    code, _, err = run("evaluate", "run", "--fivo")
    assert (code, err.count("\n")) == (2, 1)
    assert "there is no bound of a particle filter, as there is no IWAE: the guide of z is a point" in err


def test_a_comparison_with_fivo_has_it_for_all_rows(tmp_path):
    comparison, row = (
        comparing("state_space", ("trace", "fivo:2"), settings={"batch_size": 400}),
        Row("trace", "own", 0),
    )
    (tmp_path / "rows").mkdir()
    assert fit(comparison, row, tmp_path, "test")["fivo"]["k"] == 8
    assert fit_columns(8)["FIVO-8"][0] == "fivo/value"
    assert specification(comparison, row, "test", "")["fivo"]
    assert "fivo" not in specification(comparing("state_space"), row, "test", "")
