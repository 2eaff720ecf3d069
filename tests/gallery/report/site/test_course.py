"""The pages of the course: mathematics in prose, holes with folded solutions, notebooks to download."""

import json

import pytest
from built_site import Page

from gallery.course import LESSONS, lesson
from gallery.report.site.course import prose, write_course


def test_mathematics_in_prose():
    html = prose("The guide $q(z \\mid x)$ and\n\n$$a_1 * b_1 < c$$\n\n| a | b |\n|---|---|\n| $x$ | <b> |", "A table")
    assert html.count("<math") == 3
    assert 'display="block"' in html
    assert "<em>" not in html
    assert "&lt;b&gt;" in html
    assert "$" not in html
    assert "⟦" not in html


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    write_course(site := tmp_path_factory.mktemp("course"))
    return site


@pytest.mark.integration
@pytest.mark.parametrize("number", LESSONS)
def test_a_lesson_has_picture_holes_solutions_and_notebooks(folder, number):
    html = (folder / f"lesson-{number}.html").read_text(encoding="utf-8")
    page = Page(html)
    assert (folder / page.all("img", "src")[0]).is_file()
    assert "download" in html
    assert page.text.count("Solution") >= 3
    assert "$" not in page.text.replace("$ ", "")
    assert "# end" not in page.text
    for name in (f"lesson-{number}.ipynb", f"lesson-{number}-solution.ipynb"):
        assert name in page.all("a", "href")
        assert json.loads((folder / name).read_text(encoding="utf-8"))["nbformat"] == 4
    assert lesson(number).title in page.text


@pytest.mark.integration
def test_the_syllabus_links_every_lesson_and_the_notes(folder):
    links = Page((folder / "course.html").read_text(encoding="utf-8")).all("a", "href")
    assert {f"lesson-{number}.html" for number in LESSONS} | {"notes.html"} <= set(links)
    assert len(list(folder.glob("*.ipynb"))) == 2 * len(LESSONS)
