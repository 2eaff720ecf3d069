"""What pages say holds on every screen: in light and dark, with charts beside or below each other."""

import re
import unicodedata

import pytest

from gallery.catalogue.entries import NAMES, corrections, entry, sources_map
from gallery.report.site.hero import recipes_of
from gallery.report.site.model_page import _settings, references

DECIMAL = re.compile(r"(?<=[\s(])\.\d")
LONGEST = 600  # characters of a caption


def ascii_of(name):
    """Return a name without its accents, and without the letters that may stand for them."""
    letters = unicodedata.normalize("NFD", name).encode("ascii", "ignore").decode()
    return re.sub(r"(?<=[aou])e", "", letters)


def test_authors_are_spelled_as_in_the_references():
    names = {work.authors for name in NAMES for work in references(entry(name).bibtex)}
    by_letters = {ascii_of(authors): authors for authors in names}
    rows = [row["source"] for row in sources_map()]
    shared = [(row, by_letters[key]) for row in rows for key in by_letters if ascii_of(row).startswith(f"{key}, ")]
    assert len(shared) > len(NAMES) / 2
    assert [row for row, authors in shared if not row.startswith(f"{authors}, ")] == []


def test_a_decimal_has_a_digit_before_its_point():
    texts = [*(str(row) for row in sources_map()), *(str(row) for row in corrections())]
    texts += [str(exercise) for name in NAMES for exercise in entry(name).exercises]
    assert [text[: found.end()][-20:] for text in texts for found in DECIMAL.finditer(text)] == []


def test_a_setting_has_no_decimals_that_its_recipe_lacks():
    recipes = (recipe for name in NAMES for recipe in recipes_of(name))
    assert [recipe.name for recipe in recipes if re.search(r"\.0\b", _settings(recipe))] == []


@pytest.mark.integration
def test_captions_are_short_and_hold_in_the_dark_and_on_a_phone(site):
    """Ink is dark on light paper and light on dark; two charts stand beside each other, or below."""
    for path in sorted(site.glob("*.html")):
        html = path.read_text(encoding="utf-8")
        captions = re.findall(r"<figcaption>(.*?)</figcaption>", html, flags=re.DOTALL)
        captions += re.findall(r'id="plates">.*?</p>', html, flags=re.DOTALL)
        for caption in (re.sub(r"<[^>]*>", "", it) for it in captions):
            assert len(caption) <= LONGEST, path.name
            assert not re.search(r"\b(white|black|dark|Left:|Right:)", caption, flags=re.IGNORECASE), caption


@pytest.mark.integration
def test_no_mark_of_the_source_of_a_text_is_shown(pages):
    for name, page in pages.items():
        if name in ("api.html",) or name.startswith("run-"):
            continue
        sentences = re.split(r"@\w+\{", page.text)[0]  # what follows is BibTeX
        found = re.findall(r".{20}(?:[?!]\.\s|\$\w+\$).{20}", sentences)
        assert found == [], name


@pytest.mark.integration
def test_pictures_become_dark_unless_they_may_have_colours(site):
    """Ink on paper is inverted in the dark: all pictures of the gallery, and those of runs on its data."""
    others = [path.name for path in sorted(site.glob("*.html")) if '<body class="drawn">' not in path.read_text()]
    assert [name.partition("-own")[1] for name in others] == ["-own"]
