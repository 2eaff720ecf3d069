"""Pictures on the site: files that are no pictures are skipped, and every other has a caption and a reading."""

from built_site import HOSTILE

from gallery.catalogue.entries import NAMES
from gallery.ledger.tables import LEDGER
from gallery.report.site.captions import CAPTIONS, READINGS
from gallery.report.site.hero import recipes_of
from gallery.report.site.pictures import copy_pictures, known_pictures
from gallery.report.site.thumbnails import draw_thumbnail


def test_a_file_that_is_no_picture_is_skipped(tmp_path):
    (tmp_path / "samples.png").write_text(HOSTILE)
    assert copy_pictures(tmp_path, tmp_path / "site", "here", "of it") == []
    assert draw_thumbnail("vae", tmp_path / "samples.png", tmp_path / "site") == ""
    assert not (tmp_path / "site" / "pictures" / "here" / "samples.png").exists()


def test_every_model_has_three_committed_pictures_of_different_kinds():
    for name in NAMES:
        folders = [LEDGER / "pictures" / recipe.name.replace(":", "-") for recipe in recipes_of(name)]
        kinds = {path.stem for folder in [*folders, LEDGER / "experiments" / name] for path in known_pictures(folder)}
        assert len(kinds) >= 3, (name, kinds)


def test_every_picture_has_a_reading():
    """A wall shows no picture without a caption, so none without a reading."""
    assert READINGS.keys() == CAPTIONS.keys()
    assert all(reading.endswith(".") for reading in READINGS.values())
