"""The lessons were run as printed, and their statements hold in their rows."""

import json
from itertools import product

import pytest
import torch

import data
from gallery.catalogue.lessons import LESSONS
from gallery.comparison.report import number
from gallery.figures.lesson import lesson as draw
from gallery.figures.posterior_error import error
from gallery.ledger.tables import LEDGER


@pytest.mark.parametrize("name", LESSONS)
def test_lessons_were_run_as_they_are_printed(name):
    lesson = LESSONS[name]
    assert lesson.title.endswith("?")
    assert lesson.answer.strip()
    assert lesson.text.strip()
    for model, arguments in lesson.commands.items():
        folder = LEDGER / "lessons" / name / model.rpartition(":")[2]
        result = json.loads((folder / "compare.json").read_text())
        assert result["command"] == f"gallery compare {model} {arguments}"
        assert {row["status"] for row in result["rows"]} == {"finished"}
        assert result["refused"] == {}
        drawn = {"bound.png", "variance.png"} | ({"error.png"} if error(result) else set())
        assert {path.name for path in folder.iterdir()} == {"compare.json", "drawn.json", *drawn}


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
    assert (gap["trace, normal"] > 4 * error["trace, normal"]).all()
    assert all((gap[full] < 4 * error[full]).all() for full in ("trace", "trace, multivariate"))
    assert all((lesson("families", model, "largest_z")["nuts"] < 3).all() for model in LESSONS["families"].commands)


def test_statements_of_the_lesson_on_amortisation():
    vae = ("amortisation", "vae")
    elbo, iwae, error = (lesson(*vae, path) for path in ("elbo/value", "iwae/value", "elbo/mc_se"))
    own, few, many = (elbo[name] for name in ("analytic", "analytic, semi:10", "analytic, semi:100"))
    assert ((few - own - 0.25).abs() < 0.05).all()  # a quarter of a nat
    assert (few - own > 3 * (many - few)).all()
    assert (many - few > 4 * error["analytic, semi:10"]).all()
    assert (iwae["analytic, semi:100"] - many > 0.2).all()
    assert all(((iwae[name] - iwae["analytic"]).abs() < (few - own) / 5).all() for name in iwae)


def test_statements_of_the_lesson_on_collapse():
    vae = ("collapse", "vae")
    elbo, kl, iwae = (lesson(*vae, f"{name}/value") for name in ("elbo", "kl", "iwae"))
    assert (kl["analytic"] < 0.01).all()
    assert (kl["free-bits:0.1"] > 0.5).all()
    for bounds in (elbo, iwae):
        assert (bounds["analytic"] > bounds["free-bits:0.1"]).all()
        assert (bounds["free-bits:0.1"] > bounds["free-bits:0.5"]).all()
    x = data.load("digits:grey").x
    assert torch.linalg.eigvalsh(torch.cov(x.T)).max() < 1  # no direction varies more than the noise


def test_statements_of_the_lesson_on_two_kls():
    squares = ("two_kls", "squared_gaussian")
    elbo, iwae, truth = (lesson(*squares, f"{name}/value") for name in ("elbo", "iwae", "evidence"))
    overlap = lesson(*squares, "posterior/modes/overlap")
    assert (overlap["wake-sleep"] > 0.95).all()
    assert (overlap["trace"] < 0.7).all()
    assert (elbo["trace"] > elbo["wake-sleep"] + 3).all()
    assert (truth["wake-sleep"] - iwae["wake-sleep"] < 0.05).all()
    assert (truth["trace"] - iwae["trace"] > 0.2).all()
    variances = lesson(*squares, "noise/guide/variance")
    assert (variances["wake-sleep"] > variances["trace"]).all()


def test_statements_of_the_lesson_on_coordinates():
    apart, centred = (("coordinates", model) for model in ("eight_schools", "centred"))
    error, far = (lesson(*of, "largest_error") for of in (apart, centred))
    assert all((error[name] < 0.1).all() for name in ("nuts", "pathfinder:20"))
    assert (far["pathfinder:20"] > 1).all()
    assert (lesson(*apart, "k_hat")["pathfinder:20"] < 0.7).all()
    assert (lesson(*centred, "k_hat")["pathfinder:20"] > 0.7).all()
    k_hats = [lesson(*of, "k_hat")["pathfinder:20"] for of in (apart, centred)]
    assert [f"{k:.2f}" for of in k_hats for k in of.tolist()] == ["0.37", "0.45", "0.93", "0.89"]  # of the page
    assert error["pathfinder:20"].max() < 0.07
    assert [f"{value:.1f}" for value in far["pathfinder:20"].tolist()] == ["1.2", "1.2"]
    gradients, of_centred = (lesson(*of, "gradients") for of in (apart, centred))
    assert (20 * gradients["pathfinder:20"] < gradients["nuts"]).all()
    assert of_centred["nuts"].min() > 2 * gradients["nuts"].max()
    assert 5 * lesson(*centred, "ess")["nuts"].max() < lesson(*apart, "ess")["nuts"].min()
    assert (lesson(*centred, "r_hat")["nuts"] > 1.01).all()


@pytest.mark.parametrize("name", LESSONS)
def test_the_figure_of_a_lesson_has_its_rows_in_words(name):
    of = LESSONS[name]
    folders = [LEDGER / "lessons" / name / model.rpartition(":")[2] for model in of.commands]
    results = [json.loads((folder / "compare.json").read_text()) for folder in folders]
    fig = draw(results, of.shown, of.names)
    assert len(fig.axes) == len(results) * len(of.shown)
    for result, ax in zip(results, fig.axes[:: len(of.shown)], strict=True):
        path = next(iter(of.shown))
        rows = {row["label"] for row in result["rows"] if number(row, path) is not None}
        assert {text.get_text() for text in ax.get_yticklabels()} == {of.names[label] for label in rows}
        assert min(text.get_fontsize() for text in ax.get_yticklabels()) >= 11


def test_statements_of_the_lesson_on_latents_are_in_its_rows():
    fa, binary, vae = (("latents", model) for model in ("factor_analysis", "BinaryCauses", "vae"))
    of_guide, of_model, gap = (
        lesson(*fa, path) for path in ("noise/guide/variance", "noise/model/variance", "gap/value")
    )
    assert (50 * of_guide["stl"] < of_guide["trace"]).all()
    assert torch.equal(of_model["stl"], of_model["trace"])
    assert (gap["stl"] < gap["trace"]).all()
    assert (of_guide["reinforce"] > 20 * of_guide["trace"]).all()
    assert (10 * of_guide["loo:4"] < of_guide["trace"]).all()

    of_guide, of_model, passes = (
        lesson(*binary, f"{p}") for p in ("noise/guide/variance", "noise/model/variance", "passes")
    )
    seconds, elbo, evidence, gap = (
        lesson(*binary, path) for path in ("seconds", "elbo/value", "evidence/value", "gap/value")
    )
    assert not of_guide["enum"].any()
    assert not of_model["enum"].any()
    assert all((elbo["enum"] > elbo[name]).all() for name in ("disarm", "loo:2", "vimco:4"))
    assert all((seconds["enum"] > 3 * seconds[name]).all() for name in ("disarm", "loo:2", "vimco:4"))
    assert torch.equal(passes["disarm"], passes["loo:2"])
    assert (of_guide["disarm"] < of_guide["loo:2"]).all()
    assert (of_model["disarm"] < of_model["loo:2"]).all()
    assert (elbo["disarm"] > elbo["loo:2"]).tolist().count(True) == 1
    assert all((evidence["vimco:4"] > evidence[name]).all() for name in ("enum", "disarm", "loo:2"))
    assert all((gap["vimco:4"] > gap[name]).all() for name in ("enum", "disarm", "loo:2"))

    of_guide, of_model = (lesson(*vae, f"noise/{part}/snr") for part in ("guide", "model"))
    elbo, iwae = (lesson(*vae, f"{name}/value") for name in ("elbo", "iwae"))
    torch.testing.assert_close(of_model["piwae:4:4"], of_model["iwae:16"])
    for name in ("piwae:4:4", "miwae:4:4"):
        assert (of_guide[name] > 3 * of_guide["iwae:16"]).all()
        assert (of_guide[name] < 5 * of_guide["iwae:16"]).all()
    assert all((of["piwae:4:4"] > of[name]).all() for of in (elbo, iwae) for name in ("iwae:16", "miwae:4:4"))
