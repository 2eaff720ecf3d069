"""The embedded font has every character of the formulas of all entries."""

import html
import re

from gallery.catalogue.entries import NAMES, entry
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


def test_the_font_has_every_character_of_the_entries():
    (ranges,) = {", ".join(re.findall(r"unicode-range: ([^;]*);", font_faces()))}
    held = {int(number, 16) for number in re.findall(r"U\+([0-9A-F]+)", ranges)}
    for name in NAMES:
        for lines in (entry(name).story, entry(name).guide, entry(name).bound):
            for formula, _ in lines:
                needed = shown(str(mathematics(formula, "block")))
                assert not {chr(number) for number in needed - held if not chr(number).isspace()}, (name, formula)
