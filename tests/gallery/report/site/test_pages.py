"""The pages: complete, valid, without requests, and with hostile content escaped."""

import re
import shutil
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest
from built_site import FOLDER, Page
from PIL import Image

from gallery.catalogue.entries import NAMES, entry
from gallery.catalogue.lessons import LESSONS
from gallery.ledger import tables
from gallery.ledger.reproduce import read
from gallery.models import MODELS
from gallery.report.site import write_site
from gallery.report.site.numbers import numbers
from gallery.report.site.page import PAGES
from gallery.report.site.run_pages import without_folders
from gallery.report.site.sections import recipes_of
from inference import Settings
from inference.pairs.capabilities import exact

pytestmark = pytest.mark.integration


def test_every_model_has_a_page_and_a_card(pages):
    assert pages.keys() >= {f"{name}.html" for name in NAMES} | PAGES.keys()
    assert set(pages["index.html"].all("a", "href")) >= {f"{name}.html" for name in NAMES}


def test_links_and_pictures_resolve(site, pages):
    for name, page in pages.items():
        anchors = {attributes.get("id") for _, attributes in page.tags}
        for target in page.all("a", "href"):
            file, _, anchor = target.partition("#")
            if target.startswith(("https://arxiv.org/abs/", "https://scholar.google.com/scholar?q=")):
                continue  # a reference, which a reader may follow
            if file.endswith((".png", ".ipynb")):
                assert (site / file).is_file()
                continue
            ids = {attributes.get("id") for _, attributes in pages[file].tags} if file else anchors
            assert not anchor or anchor in ids, (name, target)
        for source in page.all("img", "src"):
            with Image.open(site / source) as image:
                image.verify()


def test_a_page_shows_three_pictures_and_at_most_one_learning_curve(site):
    for name in NAMES:
        _, _, after = (site / f"{name}.html").read_text().partition('id="pictures"')
        shown = after.partition('id="exercises"')[0]
        assert shown.count("<img") == 3, name
        assert shown.count("<img") - shown.count('learning_curve.png" alt') >= 2, name


def test_pages_are_built_alike(pages):
    """Landmarks, one h1, no skipped heading level, text alternatives, named regions that scroll."""
    for name, page in pages.items():
        tags = [tag for tag, _ in page.tags]
        assert [tags.count(tag) for tag in ("main", "header", "footer", "h1")] == [1] * 4, name
        levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
        assert all(after <= before + 1 for before, after in pairwise(levels)), (name, levels)
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(ids) == len(set(ids)), name
        for tag, attributes in page.tags:
            if tag == "img":
                assert len(attributes["alt"]) > 20
                assert Path(attributes["src"]).name not in attributes["alt"]
            if attributes.get("role") == "region":
                assert attributes["aria-label"]
                assert attributes["tabindex"] == "0"


def test_sentences_are_apart_and_settings_exist(site, pages):
    for name, page in pages.items():
        html = (site / name).read_text(encoding="utf-8")
        inline = r"<(code|pre|math|style|script|svg)\b.*?</\1>|</?(a|em|span|strong)\b[^>]*>"
        prose = re.sub(r"<[^>]*>", " ", re.sub(inline, "", html, flags=re.DOTALL))
        assert not re.search(r"\b[a-z]{2,}[.;][A-Z][a-z]*\s", prose), name
        assert set(re.findall(r"\bSettings\((\w+)=", page.text)) <= {field.name for field in fields(Settings)}, name


def test_a_page_and_its_pictures_are_small(site, pages):
    for name, page in pages.items():
        size = sum((site / source).stat().st_size for source in set(page.all("img", "src")))
        assert (site / name).stat().st_size + size < 0.95 * 3_000_000, name  # the explorer of another run may be larger


def test_pages_make_no_requests(site, pages):
    for name, page in pages.items():
        html = (site / name).read_text(encoding="utf-8")
        assert "default-src 'none'" in page.all("meta", "content")[1]
        loaded = [v for tag, of in page.tags for key, v in of.items() if key in ("src", "srcset", "data", "poster")]
        assert all(not re.match(r"\w+:|//", source) for source in loaded), name
        assert page.all("link", "href") == ["data:,"]  # else browsers request one
        assert not {tag for tag, _ in page.tags} & {"iframe", "object", "embed", "base", "form"}, name
        assert not re.search(r"@import|url\((?!data:font)", html), name


def test_a_hostile_name_is_text(pages):
    (page,) = (page for name, page in pages.items() if name.startswith("run-") and "script" in name)
    assert FOLDER in page.text
    assert "onerror" not in {key for _, attributes in page.tags for key in attributes}
    index = pages["index.html"]
    assert index.scripts == []
    assert "script-src 'none'" in index.all("meta", "content")[1]
    for page in pages.values():
        assert not any("alert" in script for script in page.scripts)


def test_a_hostile_model_and_its_metrics_are_text(pages):
    """Content of a user's file, of its data and of metrics.json is displayed and never executed."""
    (page,) = (page for name, page in pages.items() if name.endswith("-own.html"))
    assert page.text.count("alert(1)") >= 4  # a number, its unit, an undefined number and the reason, docstrings
    assert "onerror=alert(2)>\"'.npz:grey" in page.text  # the last part of a path to data
    assert page.scripts == []
    assert not any("samples" in source for source in page.all("img", "src"))
    assert "</code></pre>" in page.text


def test_pages_do_not_contain_paths_of_the_disk(site, pages):
    assert without_folders("/home/me/my.py:Mine") == "my.py:Mine"
    assert without_folders("/home/me/images/:grey") == "images:grey"
    assert without_folders("mnist:threshold:100-labels") == "mnist:threshold:100-labels"
    assert not [name for name, page in pages.items() if str(site.parent) in page.text]


def test_a_model_page_has_its_numbers_code_and_answers(pages):
    text = " ".join(pages["vae.html"].text.split())
    ledger = read(tables.LEDGER / "ledger.json")
    for recipe in recipes_of("vae"):
        assert ledger.get(recipe.name, {"command": f"gallery reproduce {recipe.name}"})["command"] in text
        for number in numbers(recipe, ledger.get(recipe.name)):
            assert number.measured in text
            assert number.published in text
    order = ("def guide(self, x: Tensor", "Common mistakes", "References")
    assert [text.rindex(part) for part in order[1:]] == sorted(text.rindex(part) for part in order[1:])
    assert text.index(order[0]) < text.rindex(order[1])
    for sentence in (entry("vae").intro, *entry("vae").mistakes):
        assert " ".join(sentence.split()) in text
    for exercise in entry("vae").exercises:
        assert re.split(r"[$`]", exercise["answer"])[0].strip() in text


def test_the_headline_of_a_recipe_is_not_folded(pages):
    """It is the number of the overview table of README.md, above the folded tables."""
    ledger = read(tables.LEDGER / "ledger.json")
    for name, page in pages.items():
        for recipe in recipes_of(name.removesuffix(".html")):
            if (shown := tables.headline(recipe, ledger.get(recipe.name))) is None:
                continue
            number = next(it for it in numbers(recipe, ledger[recipe.name]) if it.name == shown.name)
            text = page.text[page.text.index(f"gallery reproduce {recipe.name}\n") :]
            words = f"{number.name[1:]}: {number.measured}".replace(" - ", " − ")
            shown_text = text[: text.index(f"Numbers and pictures of {recipe.name}")]
            assert words in shown_text, recipe.name
            assert ("one seed" in shown_text) == (number.seeds == 1), recipe.name
            assert number.seeds == 1 or f"{number.seeds} seeds" in shown_text, recipe.name


def test_a_model_without_a_guide_states_it(pages):
    without = {name for name in NAMES if "No guide is needed: what is hidden" in pages[f"{name}.html"].text}
    assert without == {"gaussian_mixture", "hmm"}
    assert not any("No sites." in page.text for page in pages.values())


@pytest.mark.slow
def test_a_site_without_pictures_states_it(tmp_path, monkeypatch):
    """As from a wheel, which has no pictures: only the panels of exact models are drawn, and the rest is stated."""
    results = tmp_path / "results"
    shutil.copytree(tables.LEDGER, results, ignore=shutil.ignore_patterns("*.png", "*.gif", "pictures"))
    monkeypatch.setattr(tables, "LEDGER", results)
    monkeypatch.setattr("gallery.report.site.diagrams", lambda family: [])  # slow, and irrelevant here
    monkeypatch.setattr("gallery.report.site.write_course", lambda site: None)  # its pictures are drawn from models
    write_site(tmp_path / "site")
    written = {path.name for path in (tmp_path / "site").glob("*.html")}
    assert written == {f"{name}.html" for name in NAMES} | PAGES.keys() - {"course.html"}
    drawn = {path.stem for path in (tmp_path / "site").rglob("*.png")}
    assert {name for name in drawn if name.startswith("lesson-")} == {f"lesson-{name}" for name in LESSONS}
    drawn = {name for name in drawn if not name.startswith("lesson-")}
    assert len(drawn) == sum(exact(MODELS[name], "log_evidence") is not None for name in NAMES)
    line = "The pictures are not part of this installation."
    ledger = read(tables.LEDGER / "ledger.json")
    for name in NAMES:
        page = Page((tmp_path / "site" / f"{name}.html").read_text(encoding="utf-8"))
        assert page.all("img", "src") == [f"pictures/hero/{name}.png"] * (name in drawn)
        assert page.text.count(line) == sum(
            bool(ledger.get(recipe.name, {}).get("runs")) for recipe in recipes_of(name)
        )
    index, comparisons = ((tmp_path / "site" / name).read_text("utf-8") for name in ("index.html", "comparisons.html"))
    assert index.count("No picture") == len(NAMES) - len(drawn)
    assert comparisons.count(line) == len(list((results / "lessons").rglob("compare.json")))
