"""Thumbnails: 4:3, and only the tiles of a picture, without its text."""

import numpy as np
import pytest
from PIL import Image

from data.catalogue import load
from gallery.figures.card import CARD
from gallery.figures.style import figure, save, show, tile
from gallery.report.site.thumbnails import assembled, draw_thumbnail, tiles


def grid(path, rows, columns):
    fig = figure(6, 4)
    images = load("digits:grey", "test").x[: rows * columns]
    show(fig.subplots(), tile(images, (8, 8), columns), (0, 1), "A title", [f"row {i}" for i in range(rows)])
    return save(fig, path)


@pytest.mark.parametrize(("rows", "columns"), [(6, 10), (3, 6)])
def test_a_thumbnail_has_tiles_and_no_text(tmp_path, rows, columns):
    path = grid(tmp_path / "samples.png", rows, columns)
    with Image.open(path) as image:
        (found,) = tiles(np.asarray(image.convert("RGB")))
    assert len(found) == rows
    assert min(map(len, found)) >= columns - 2  # those at the edge have no gap beside them
    sides = [side for row in found for part in row for side in part.shape[:2]]
    assert max(sides) - min(sides) <= 8
    src = draw_thumbnail("vae", path, tmp_path)
    with Image.open(tmp_path / src) as image:
        assert image.size == CARD


def test_a_picture_without_tiles_has_no_thumbnail(tmp_path):
    Image.new("RGB", (200, 100), "white").save(tmp_path / "samples.png")
    assert draw_thumbnail("vae", tmp_path / "samples.png", tmp_path) == ""
    assert draw_thumbnail("vae", None, tmp_path) == ""
    assert assembled([]) is None


def test_chosen_rows():
    rows = [[np.full((20, 20, 3), 40 * i, dtype=np.uint8)] * 4 for i in range(6)]
    chosen = assembled([rows], (0, 4, 5))
    column = np.asarray(chosen.convert("L"))[[80, 240, 400], 80]
    assert column.tolist() == [0, 160, 200]
