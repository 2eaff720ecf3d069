"""Which pairs have an explorer, and several explorers on one page."""

import pytest
import torch
from explorer_cases import FAULTY, NONE, inline, part

from gallery.errors import RunError
from gallery.report.explorers import explorer
from gallery.report.explorers.fragment import fragment, packed
from gallery.report.site import _explorer_of
from gallery.report.site.run_pages import runs_below


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
    data = {
        "x": [0.0],
        "z": [0.0, 1.0],
        "top": 1.0,
        "evidence": [0],
        "elbo": [0],
        "gap": [0],
        "error": [1],
        "more": hostile,
    }
    data |= {name: packed(torch.zeros(2)) for name in ("prior", "exact", "guide")}
    body = (
        '<svg data-part="picture"></svg><input type="range" data-part="x" max="0"><output data-part="status"></output>'
    )
    page = visit(fragment("densities", hostile, body, data))
    assert inline(page)["more"] == hostile
    assert page.locator("figcaption").inner_text() == hostile


@pytest.mark.parametrize("name", NONE)
def test_other_pairs_have_no_explorer(name, fitted):
    assert fitted(name)[1] is None


@pytest.mark.parametrize("name", FAULTY)
def test_an_error_in_a_users_file_is_reported_with_its_line(name, fitted):
    lines, ((run,), _) = [], runs_below(fitted(name)[0])
    assert _explorer_of(run, lines.append) is None
    assert "same dtype" in lines[0]
    assert "mine.py:37" in lines[0]


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="holds no run"):
        explorer(tmp_path)
