"""The lessons were run as printed, and their statements hold in their rows."""

import json
from itertools import product

import pytest
import torch

from gallery.catalogue.lessons import LESSONS
from gallery.comparison.report import number
from gallery.ledger.tables import LEDGER


@pytest.mark.parametrize("name", LESSONS)
def test_lessons_were_run_as_they_are_printed(name):
    lesson = LESSONS[name]
    assert lesson.title.endswith("?")
    assert lesson.answer.strip()
    assert lesson.text.strip()
    for model, arguments in lesson.commands.items():
        folder = LEDGER / "lessons" / name / model
        result = json.loads((folder / "compare.json").read_text())
        assert result["command"] == f"gallery compare {model} {arguments}"
        assert {row["status"] for row in result["rows"]} == {"finished"}
        assert result["refused"] == {}
        assert {path.name for path in folder.iterdir()} == {"compare.json", "bound.png", "variance.png", "drawn.json"}


def lesson(name, model, path):
    """{label: numbers by seed} of a lesson as it was run, at a path of its rows."""
    result = json.loads((LEDGER / "lessons" / name / model / "compare.json").read_text())
    by_label = {}
    for row in result["rows"]:
        by_label.setdefault(row["label"], []).append(number(row, path))
    return {
        label: torch.tensor(values, dtype=torch.float64) for label, values in by_label.items() if None not in values
    }


def test_statements_of_the_lessons_are_in_their_rows():
    fa, mixture, vae = ("score", "factor_analysis"), ("enumeration", "gmvae"), ("iwae", "vae")
    variances, of_model = (lesson(*fa, f"noise/{part}/variance") for part in ("guide", "model"))
    assert (variances["score"] > 10 * variances["trace"]).all()
    assert torch.equal(of_model["score"], of_model["trace"])
    assert (lesson(*fa, "elbo/value")["score"] < lesson(*fa, "elbo/value")["trace"]).all()
    assert (lesson(*fa, "gap/value")["score"] > lesson(*fa, "gap/value")["trace"]).all()

    passes, seconds, elbo = (lesson(*mixture, path) for path in ("passes", "seconds", "elbo/value"))
    variances = lesson(*mixture, "noise/guide/variance")
    for relaxed, exact in product(("relaxed", "categorical_kl"), ("enum", "enum_analytic")):
        assert (10 * passes[relaxed] == passes[exact]).all()
        assert (10 * seconds[relaxed] > seconds[exact]).all()
        assert (elbo[relaxed] < elbo[exact]).all()
        assert (variances[relaxed] > 3 * variances[exact]).all()

    elbo, iwae = (lesson(*vae, f"{name}/value") for name in ("elbo", "iwae"))
    of_guide, of_model = (lesson(*vae, f"noise/{part}/snr") for part in ("guide", "model"))
    assert (iwae["trace"] < iwae["iwae:5"]).all()
    assert (iwae["iwae:5"] < iwae["iwae:50"]).all()
    assert (of_guide["trace"] > of_guide["iwae:5"]).all()
    assert (of_guide["iwae:5"] > of_guide["iwae:50"]).all()
    assert (of_model["trace"] < of_model["iwae:5"]).all()
    assert (of_model["iwae:5"] < of_model["iwae:50"]).all()
    assert (of_guide["dreg:5"] > of_guide["dreg:50"]).all()
    for k in ("5", "50"):
        assert (of_guide[f"dreg:{k}"] > of_guide["trace"]).all()
        assert (of_guide[f"dreg:{k}"] > 2 * of_guide[f"iwae:{k}"]).all()
        assert (iwae[f"dreg:{k}"] > iwae[f"iwae:{k}"]).all()
    assert all((elbo[f"{name}:50"] < elbo["trace"]).all() for name in ("iwae", "dreg"))
    errors = lesson(*vae, "iwae/mc_se")
    gained = (iwae["dreg:50"] - iwae["dreg:5"]) / (errors["dreg:50"] ** 2 + errors["dreg:5"] ** 2).sqrt()
    assert (gained > 1).tolist().count(True) == 1

    em = ("em", "factor_analysis")
    evidence, gap, seconds = (lesson(*em, path) for path in ("evidence/value", "gap/value", "seconds"))
    for name in ("trace", "analytic"):
        away = evidence["em"] - evidence[name]
        assert (away > 0).all()
        assert (4 * gap[name] < away)[away > 0.01].all()
        assert evidence[name].max() - evidence[name].min() > 10 * (evidence["em"].max() - evidence["em"].min())
        assert (10 * seconds["em"] < seconds[name]).all()

    gap = lesson("families", "exponential_gaussian", "gap/value")
    assert (10 * gap["trace"] < gap["trace, gamma"]).all()
    assert (gap["trace, gamma"] < gap["trace, normal"]).all()
    gap, error = (lesson("families", "linear_regression", f"gap/{name}") for name in ("value", "mc_se"))
    assert (gap["trace, normal"] > 6 * error["trace, normal"]).all()
    assert all((gap[full] < 4 * error[full]).all() for full in ("trace", "trace, multivariate"))
    assert all((lesson("families", model, "largest_z")["nuts"] < 3).all() for model in LESSONS["families"].commands)
