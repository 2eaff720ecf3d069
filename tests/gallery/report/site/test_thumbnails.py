"""Thumbnails: 4:3, and only the tiles of a picture, without its text."""

import numpy as np
import pytest
from PIL import Image

from data.catalogue import load
from gallery.course.pictures import HEROES
from gallery.figures.card import CARD
from gallery.figures.style import GAP, figure, save, show, tile
from gallery.report.site.thumbnails import LESSON_CARD, assembled, bare, draw_thumbnail, framed, tiles


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


def test_framed_panels_are_found_without_frame_and_text(tmp_path):
    fig, shares = figure(8, 4), (0.2, 0.8)  # levels 51 and 204
    for ax, share in zip(fig.subplots(2, 1), shares, strict=True):
        ax.imshow(np.full((10, 80), share), cmap="gray", vmin=0, vmax=1, aspect="auto")
        ax.set_title("A title")
        ax.spines[:].set(color=GAP, linewidth=2.5)
    path = save(fig, tmp_path / "rolls.png")
    with Image.open(path) as image:
        panels = framed(np.asarray(image.convert("RGB")))
    assert [np.unique(panel).tolist() for panel in panels] == [[round(255 * share)] for share in shares]
    assert min(panel.shape[1] for panel in panels) > 700
    with Image.open(tmp_path / draw_thumbnail("deep_markov", path, tmp_path)) as image:
        assert image.size == CARD
        levels = np.asarray(image.convert("L"))[[120, 360], 320]
    assert levels.tolist() == pytest.approx([255 * share for share in shares], abs=2)


@pytest.mark.parametrize("number", HEROES)
def test_the_thumbnail_of_a_lesson_has_no_text(number, tmp_path):
    fig = bare(HEROES[number][0]())
    for ax in fig.axes:
        assert not any((ax.axison, ax.get_legend(), list(ax.texts)))
        assert {ax.get_title(where) for where in ("left", "center", "right")} == {""}
    assert not fig.legends
    with Image.open(save(fig, tmp_path / "card.png")) as image:
        assert image.size == LESSON_CARD
