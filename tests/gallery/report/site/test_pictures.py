"""Pictures on the site: files that are no pictures are skipped."""

from built_site import HOSTILE

from gallery.report.site.pictures import copy_pictures, thumbnail


def test_a_file_that_is_no_picture_is_skipped(tmp_path):
    (tmp_path / "samples.png").write_text(HOSTILE)
    assert copy_pictures(tmp_path, tmp_path / "site", "here", "of it") == []
    assert thumbnail(tmp_path / "samples.png", tmp_path / "site", "vae") == ""
    assert not (tmp_path / "site" / "pictures" / "here" / "samples.png").exists()
