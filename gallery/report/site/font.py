"""The font of formulas, embedded in a page, so that they are legible where no mathematics font is installed.

The characters are taken from STIX and DejaVu Serif, free fonts that come with matplotlib.
"""

import logging
from base64 import b64encode
from functools import cache
from io import BytesIO
from pathlib import Path

import matplotlib
from fontTools import subset

__all__ = ["FAMILY", "font_faces"]

FAMILY = "Gallery mathematics"
CHARACTERS = {
    "STIXGeneral.ttf": (
        *range(0x20, 0x7F),
        *range(0x391, 0x3CA),
        *(0xA0, 0xB1, 0xB7, 0xD7, 0xF7, 0x3D5, 0x3F5, 0x2016, 0x2026, 0x2032, 0x2061, 0x2062, 0x210E, 0x2112, 0x211D),
        *(0x2190, 0x2191, 0x2192, 0x2193, 0x21A6, 0x27E8, 0x27E9),
        *range(0x2200, 0x2270),
        0x22A4,
        0x22C5,
        0x22C6,
        0x22EF,
        *(0x1D431, 0x1D433, 0x1D49F),  # bold x and z and a script D, in the notation of the sources
        *range(0x1D434, 0x1D468),  # italic letters, which <mi> shows for a single one
        *range(0x1D6E2, 0x1D71C),  # and Greek ones
    ),
    "DejaVuSerif.ttf": tuple(range(0x1D538, 0x1D551)),  # double-struck capitals, as in an expectation
}


@cache
def font_faces() -> str:
    """Return the style of the font: one @font-face for each file."""
    logging.getLogger("fontTools.subset").setLevel(logging.ERROR)  # it names the tables that it drops
    return "\n".join(_face(file, characters) for file, characters in CHARACTERS.items())


def _face(file: str, characters: tuple[int, ...]) -> str:
    options = subset.Options()
    options.layout_features, options.hinting, options.flavor = [], False, "woff"
    content = BytesIO()
    with subset.load_font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / file), options) as font:
        made = subset.Subsetter(options)
        made.populate(unicodes=characters)
        made.subset(font)
        font.flavor = "woff"
        font.save(content)
        ranges = ", ".join(f"U+{number:X}" for number in sorted(font.getBestCmap()))
    return (
        f'@font-face {{ font-family: "{FAMILY}"; unicode-range: {ranges}; '
        f"src: url(data:font/woff;base64,{b64encode(content.getvalue()).decode()}) format('woff'); }}"
    )
