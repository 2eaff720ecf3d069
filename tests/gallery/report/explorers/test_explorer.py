"""Which pairs have an explorer, and several explorers on one page."""

import json
import re

import pytest
import torch
from explorer_cases import FAULTY, NONE, inline, loaded, part

from gallery.catalogue.recipes import recipe_for
from gallery.errors import RunError
from gallery.models import MODELS
from gallery.report.explorers import OF_A_CLASS, explorer, no_explorer
from gallery.report.explorers.fragment import fragment, options, packed
from gallery.report.explorers.reasons import reason
from gallery.report.site import _explorer_of
from gallery.report.site.run_pages import runs_below
from gallery.runs.specification import Run, run_of


def test_all_stand_on_one_page_of_a_phone_in_the_dark(fitted, visit):
    names = ["vae", "gmvae", "densities", "rows", "training", "autoencoder", "vae"]
    for scheme in ("light", "dark"):
        page = visit(*(fitted(name)[1] for name in names), color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator("output").count() == len(names)
        texts = [output.inner_text() for output in page.locator("output").all()]
        assert all(texts)
        part(page, "pad").first.focus()
        page.keyboard.press("ArrowRight")
        after = [output.inner_text() for output in page.locator("output").all()]
        assert [a != b for a, b in zip(texts, after, strict=True)] == [True] + [False] * 6
        assert page.locator("[id]").count() == 0
        for element in page.locator("svg[role], canvas, input, select").all():
            assert element.evaluate("e => e.ariaLabel || (e.labels && e.labels[0].textContent.trim())")


def test_nothing_in_a_name_becomes_a_script(visit):
    hostile = "</script><script>console.log('run')</script><img src=x onerror=console.log(1)>"
    pixels = {"first": 0, "pixels": packed(torch.zeros(1), "u1")}
    data = {"steps": 1, "columns": 1, "hidden": 0.15, "sets": [pixels], "more": hostile}
    body = f"""<canvas data-part="picture" data-width="1" data-height="1" width="1" height="1"></canvas>
<input type="range" data-part="shown" max="1"><select data-part="set">{options([hostile])}</select>
<svg data-part="marks"></svg><ul data-part="legend"></ul>
<button data-part="play"></button><output data-part="status"></output>"""
    page = visit(fragment("rows", hostile, body, data, hostile))
    assert inline(page)["more"] == hostile
    for place in ("figcaption", ".hint", "option"):
        assert page.locator(place).text_content() == hostile


@pytest.mark.integration
@pytest.mark.parametrize("name", NONE)
def test_other_pairs_have_no_explorer(name, fitted):
    folder, html = fitted(name)
    assert html is None
    lines, ((run,), _) = [], runs_below(folder)
    assert _explorer_of(run, lines.append) is None
    assert lines == [f"{run.name} has no explorer: {no_explorer(folder)}"]


@pytest.mark.parametrize(
    ("model", "data", "keywords", "words"),
    [
        ("state_space", None, {}, "the codes of StateSpace are z_1 (2), z_2 (2), ..."),
        ("deep_markov", "digits:threshold", {"step_dim": 8, "latent_dim": 3}, "the codes of DeepMarkov are z (8 x 3)."),
        ("item_response:bayesian", "lsat6", {}, "shows its exact posterior, and Bayesian has no method `posterior`"),
        ("linear_regression:unknown_noise", "line", {}, "that of LinearRegression shows its exact posterior"),
        (
            "gaussian_mixture",
            "factor_analysis",
            {},
            "that of GaussianMixture cannot show data or parameters like these",
        ),
        ("exponential_gaussian:per_datum", None, {}, "has parameters for each data point"),
        ("vae", "digits:threshold", {"latent_dim": 1}, "it needs two numbers or more"),
    ],
)
def test_the_reason_why_there_is_no_explorer(model, data, keywords, words):
    run = Run.of(model, None, data, keywords)
    why = reason(run.build().double(), run.datasets()["test"].to(dtype=torch.float64), OF_A_CLASS)
    assert words in why
    assert why.endswith(".")


@pytest.mark.parametrize("cls", OF_A_CLASS)
def test_the_reason_is_of_the_explorer_of_the_class_where_it_has_one(cls):
    run = run_of(recipe_for(next(name for name, known in MODELS.items() if known is cls)), 0)
    why = reason(run.build(), run.datasets()["test"], OF_A_CLASS)
    assert why == f"that of {cls.__name__} cannot show data or parameters like these."


@pytest.mark.parametrize("name", FAULTY)
def test_an_error_in_a_users_file_is_reported_with_its_line(name, fitted):
    lines, ((run,), _) = [], runs_below(fitted(name)[0])
    assert _explorer_of(run, lines.append) is None
    assert "same dtype" in lines[0]
    assert "mine.py:37" in lines[0]


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="holds no run"):
        explorer(tmp_path)


@pytest.mark.integration
@pytest.mark.parametrize("name", ["mixture", "states"])
def test_a_run_of_an_exact_model_starts_with_its_parameters(name, fitted):
    folder, html = fitted(name)
    pair, _ = loaded(folder)
    assert f'data-explorer="{name}"' in html
    (inline,) = re.findall(r'data-part="data">(.*?)</script>', html)
    assert json.loads(inline)["mean"] == pytest.approx(pair.theta["mean"].detach().numpy(), abs=1e-8)
