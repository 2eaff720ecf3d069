"""Thumbnails without text. Of models, 4:3: panels of exact models, and tiles of the pictures of a fit.

A picture of images is a grid whose gaps have one colour (`gallery.figures.style.tile`), so that its tiles are
found again, and titles and labels are left out. So are panels in a frame of that colour.
"""

import io
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageColor

from gallery.figures.card import CARD
from gallery.figures.style import DPI
from gallery.figures.style import GAP as STYLE_GAP
from gallery.report.site.hero import exact_panel
from gallery.report.site.pictures import refusal
from inference.files import make_folder, write_atomically

__all__ = ["LESSON_CARD", "assembled", "bare", "draw_thumbnail", "framed", "stacked", "tiles"]

GAP = ImageColor.getrgb(STYLE_GAP)
ROWS = {"denoised": (0, 4, 5)}  # clean images, corrupted as in training, and restored
LESSON_CARD = (640, 256)  # pixels, 5:2
SMALLEST = 12  # pixels of the side of a tile
EDGE = 2  # pixels on both sides of a frame that have its colour in part


def draw_thumbnail(family: str, picture: Path | None, site: Path) -> str:
    """Write the thumbnail of a model, and return its path relative to the pages; empty if there is none.

    :param picture: a picture of a fit; used if the model is not exact
    """
    if (panel := exact_panel(family, site, labels=False)) is not None:
        return panel[0]
    if picture is None or refusal(picture) is not None:
        return ""
    try:
        with Image.open(picture, formats=("PNG", "GIF")) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, EOFError):  # what Pillow raises
        return ""
    thumbnail = assembled(tiles(pixels), ROWS.get(picture.stem, ())) or stacked(framed(pixels))
    if thumbnail is None:
        return ""
    src, content = f"pictures/cards/{family}.png", io.BytesIO()
    thumbnail.quantize(64).save(content, "png", optimize=True)
    make_folder((site / src).parent)
    write_atomically(site / src, content.getvalue())
    return src


def bare(figure: Figure) -> Figure:
    """Remove text, legends and axes from a figure, and give it the size of the card of a lesson."""
    figure.set_size_inches(LESSON_CARD[0] / DPI, LESSON_CARD[1] / DPI)
    figure.suptitle("")
    for artist in [*figure.legends, *figure.texts]:
        artist.remove()
    for ax in figure.axes:
        for artist in [*ax.texts, *([legend] if (legend := ax.get_legend()) else [])]:
            artist.remove()
        for where in ("left", "center", "right"):
            ax.set_title("", loc=where)
        ax.set_axis_off()
    return figure


def _spans(inside: np.ndarray) -> list[tuple[int, int]]:
    """Return the [start, end) of each run of True that is long enough for a tile."""
    runs = [(key, [i for i, _ in group]) for key, group in groupby(enumerate(inside), key=lambda it: bool(it[1]))]
    return [(run[0], run[-1] + 1) for key, run in runs if key and len(run) >= SMALLEST]


def _gap(pixels: np.ndarray) -> np.ndarray:
    """Return which pixels have the colour of gaps and frames, (height, width)."""
    return np.asarray(np.abs(pixels.astype(int) - GAP).max(-1) <= 2)


def framed(pixels: np.ndarray) -> list[np.ndarray]:
    """Find the panels of a picture that have a frame, from the top, without it."""
    gap, panels = _gap(pixels), []
    for top, bottom in _spans(np.asarray(gap.any(1))):
        rows, columns = (np.flatnonzero(gap[top:bottom].mean(axis) > share) for axis, share in ((1, 0.5), (0, 0.9)))
        if len(rows) < 2 or len(columns) < 2 or rows[0] > EDGE or rows[-1] < bottom - top - 1 - EDGE:
            continue
        (high, low), (left, right) = _inside(rows), _inside(columns)
        panels.append(pixels[top + high + EDGE : top + low - EDGE, left + EDGE : right - EDGE])
    return panels


def _inside(lines: np.ndarray) -> tuple[int, int]:
    """Return the [start, end) of the longest stretch between lines."""
    widest = int(np.diff(lines).argmax())
    return int(lines[widest]) + 1, int(lines[widest + 1])


def stacked(panels: list[np.ndarray]) -> Image.Image | None:
    """Lay wide panels one above the other on a card, each from its left end, as large as they fit; None without any."""
    if not panels:
        return None
    card, height = Image.new("RGB", CARD, "white"), (CARD[1] - 12) // len(panels) - 12
    for i, panel in enumerate(panels):
        image = Image.fromarray(panel)
        width = round(image.width * height / image.height)
        card.paste(image.resize((width, height), Image.Resampling.LANCZOS), (12, 12 + i * (height + 12)))
    return card


def tiles(pixels: np.ndarray) -> list[list[list[np.ndarray]]]:
    """Find the tiles of a picture, (height, width, 3): a list of grids, each a list of rows of tiles."""
    gap, grids = _gap(pixels), []
    for top, bottom in _spans(np.asarray(gap.any(1))):
        across = gap[top:bottom].mean(0) > 0.9  # columns that are a gap from top to bottom
        if not across.any():
            continue
        first, last = np.flatnonzero(gap[top:bottom].any(0))[[0, -1]]
        columns = [(a, b) for a, b in _spans(~across) if b > first]
        side = int(np.median([b - a for a, b in columns[1:-1]])) if len(columns) > 2 else 0
        inner = [(a, b) for a, b in columns if abs(b - a - side) <= 2]
        if not inner:
            continue
        down = gap[top:bottom, inner[0][0] : min(last, inner[-1][1])].mean(1) > 0.9
        rows = [(top + a, top + b) for a, b in _spans(~down)]
        grids.append([[pixels[a:b, c:d] for c, d in inner] for a, b in rows])
    return grids


def assembled(grids: list[list[list[np.ndarray]]], rows_shown: tuple[int, ...] = ()) -> Image.Image | None:
    """Lay tiles out on a card: 8 x 6, 4 x 3 or 3 x 2 of them, as many as there are; None for too few.

    :param rows_shown: of the first grid, if they are chosen
    """
    if not grids:
        return None
    if rows_shown and len(grids[0]) > max(rows_shown):
        grids = [[grids[0][row] for row in rows_shown]]
    best = max(grids, key=len)  # of several grids of one size the second is the mean
    if len(best) >= 3 and len(grids) > 1 and len(grids[1]) == len(best):
        best = grids[1]
    rows = best if len(best) > 1 else [row for grid in grids for row in grid]
    for across, down in ((8, 6), (4, 3), (3, 2)):
        if len(rows) >= down and min(map(len, rows[:down])) >= across:
            side = min(CARD[0] // across, CARD[1] // down)
            card = Image.new("RGB", CARD, "white")
            left, top = (CARD[0] - across * side) // 2, (CARD[1] - down * side) // 2
            for i, row in enumerate(rows[:down]):
                for j, tile in enumerate(row[:across]):
                    scaled = Image.fromarray(tile).resize((side - 6, side - 6), Image.Resampling.LANCZOS)
                    card.paste(scaled, (left + j * side + 3, top + i * side + 3))
            return card
    return None
