"""The tables of estimators and samplers are complete, and name the latents that the code accepts."""

import re
from pathlib import Path

import pytest
from cases import arguments, build

from gallery.comparison.rows import SAMPLERS
from gallery.report.site.estimators import EQUALITIES, estimators, latents_of
from gallery.report.site.page import write_page
from inference import SVI, InferenceError, Settings
from inference.fit.objectives import OBJECTIVES

TESTS = Path(__file__).parents[3]
NUMBERS = {"K": "3", "M": "2", "ALPHA": "0.5", "BETA": "0.5", "NATS": "0.1"}


def test_each_has_a_row_and_an_equality_in_a_test_that_names_it():
    objectives, samplers = (len(table["rows"]) for table in estimators())
    assert (objectives, samplers) == (len(OBJECTIVES), len(SAMPLERS))
    for file, of in EQUALITIES.items():
        text = (TESTS / file).read_text()
        for kind in of:
            assert re.search(rf"\b{kind}\b", text), (file, kind)


@pytest.mark.parametrize("form", OBJECTIVES)
def test_summed_out_latents_are_fitted_by_the_objectives_that_state_it(form):
    name = ":".join(NUMBERS.get(part, part) for part in form.split(":"))
    message = refusal_of_gmvae(name)
    if "none summed out" in latents_of(form):
        assert "y" in message.split()
    else:
        assert ("Bernoulli" in message) == ("Bernoulli" in latents_of(form)) == bool(message)


def refusal_of_gmvae(name):
    try:
        SVI(build("gmvae"), *arguments("gmvae"), settings=Settings(objective=name))
    except InferenceError as error:
        return str(error).replace(";", "").replace(",", "")
    return ""


def test_the_page_on_inference_names_them(tmp_path):
    write_page(tmp_path, "inference.html", "inference.html.j2", loop="pass", performance="", estimators=estimators())
    page = (tmp_path / "inference.html").read_text(encoding="utf-8")
    for form in [*OBJECTIVES, *SAMPLERS]:
        assert f"<code>{form}</code>" in page
