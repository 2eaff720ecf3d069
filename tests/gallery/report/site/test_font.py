"""The embedded font has every character of the formulas of all entries."""

import html
import re

from gallery.catalogue.entries import NAMES, entry
from gallery.course import LESSONS, lesson
from gallery.course.syllabus import NOTATION
from gallery.report.site.course import prose
from gallery.report.site.font import font_faces
from gallery.report.site.text import mathematics

ITALIC = {ord("a"): 0x1D44E, ord("A"): 0x1D434, ord("α"): 0x1D6FC, ord("Α"): 0x1D6E2}  # first letter -> first italic


def shown(formula: str) -> set[int]:
    """The characters of a formula in MathML: a single letter in <mi> is set in italics."""
    numbers = set()
    for attributes, text in re.findall(r"<m\w+([^>]*)>([^<]+)<", formula):
        text = html.unescape(html.unescape(text))
        for letter in map(ord, text):
            first = max((a for a in ITALIC if a <= letter < a + 26), default=None)
            single = len(text) == 1 and first is not None and "mathvariant" not in attributes
            numbers.add(ITALIC[first] + letter - first if single and letter != ord("h") else letter)
    return numbers


def missing(formula: str) -> set[str]:
    """The characters of a formula that the embedded font lacks."""
    ranges = " ".join(re.findall(r"unicode-range: ([^;]*);", font_faces()))
    held = {int(number, 16) for number in re.findall(r"U\+([0-9A-F]+)", ranges)}
    return {chr(number) for number in shown(formula) - held if not chr(number).isspace()}


def test_the_font_has_every_character_of_the_entries():
    for name in NAMES:
        for lines in (entry(name).story, entry(name).guide, entry(name).bound):
            for formula, _ in lines:
                assert not missing(str(mathematics(formula, "block"))), (name, formula)


def test_the_font_has_every_character_of_the_course():
    texts = [cell.source for n in LESSONS for cell in lesson(n).cells if cell.kind == "markdown"]
    for text in [*texts, *(cell for row in NOTATION for cell in row)]:
        for formula in re.findall("<math.*?</math>", prose(text, "A table"), flags=re.DOTALL):
            assert not missing(formula), text
