"""Pictures of a run on the site: pixels alone, no links, and no picture without limit; damaged runs beside it."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from gallery.errors import RunError
from gallery.ledger.tables import LEDGER
from gallery.report.site.folder import replaced
from gallery.report.site.pictures import LARGEST, WIDTH, copy_pictures
from gallery.report.site.thumbnails import draw_thumbnail

SECRET = b"a secret of the machine"


def picture(path, mode="RGB", size=(40, 30)):
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", SECRET.decode())
    Image.radial_gradient("L").resize(size).convert(mode).save(path, pnginfo=info)
    path.write_bytes(path.read_bytes() + SECRET)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_text_and_trailing_data_are_left_out_and_pixels_are_kept(tmp_path, mode):
    picture(tmp_path / "samples.png", mode)
    (copied,) = copy_pictures(tmp_path, tmp_path / "site", "here", "of it")
    path = tmp_path / "site" / copied.src
    assert SECRET not in path.read_bytes()
    with Image.open(path) as new, Image.open(tmp_path / "samples.png") as old:
        assert (new.info, new.size) == ({}, (copied.width, copied.height))
        assert new.convert("RGBA").tobytes() == old.convert("RGBA").tobytes()


@pytest.mark.parametrize("width", [500, 1500])
def test_a_large_picture_of_ink_on_paper_keeps_its_pixels_unless_it_is_too_wide(tmp_path, width):
    Image.effect_noise((width, 400), 50).save(tmp_path / "samples.png")
    (copied,) = copy_pictures(tmp_path, tmp_path / "site", "here", "of it")
    with Image.open(tmp_path / "site" / copied.src) as new, Image.open(tmp_path / "samples.png") as old:
        assert (tmp_path / "samples.png").stat().st_size > LARGEST
        assert new.size == (copied.width, copied.height) == (min(width, WIDTH), 400 * min(width, WIDTH) // width)
        assert (new.convert("L").tobytes() == old.tobytes()) == (width < WIDTH)


def test_a_picture_of_the_ledger_is_copied_byte_for_byte_unless_it_is_large(tmp_path):
    folder = LEDGER / "pictures" / "factor_analysis"
    pictures = copy_pictures(folder, tmp_path, "here", "of it")
    assert len(pictures) == len(list(folder.glob("*.png")))
    for copied in pictures:
        content = (folder / Path(copied.src).name).read_bytes()
        assert ((tmp_path / copied.src).read_bytes() == content) == (len(content) <= LARGEST)


def test_an_animation_keeps_frames_and_durations_alone(tmp_path):
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 100, 200)]
    frames[0].save(
        tmp_path / "animation.gif", save_all=True, append_images=frames[1:], duration=[10, 20, 500], comment=SECRET
    )
    (copied,) = copy_pictures(tmp_path, tmp_path / "site", "here", "of it")
    assert SECRET not in (tmp_path / "site" / copied.moving).read_bytes()
    with Image.open(tmp_path / "site" / copied.moving) as new:
        assert new.n_frames == 3
        new.seek(2)
        assert new.info["duration"] == 500
        assert new.convert("L").getpixel((0, 0)) == 200


def test_links_are_not_followed(tmp_path):
    (tmp_path / "figures").mkdir()
    picture(tmp_path / "elsewhere.png")
    (tmp_path / "figures" / "samples.png").symlink_to(tmp_path / "elsewhere.png")
    (tmp_path / "figures" / "latent.png").mkdir()
    lines = []
    assert copy_pictures(tmp_path / "figures", tmp_path / "site", "here", "of it", report=lines.append) == []
    assert len(lines) == 2
    assert all("is left out" in line for line in lines)
    assert draw_thumbnail("vae", tmp_path / "figures" / "samples.png", tmp_path / "site") == ""
    (tmp_path / "run").mkdir()
    picture(tmp_path / "samples.png")
    (tmp_path / "run" / "figures").symlink_to(tmp_path)
    assert copy_pictures(tmp_path / "run" / "figures", tmp_path / "site", "here", "of it") == []


def huge(width, height):
    """The beginning of a PNG of that size: its pixels are never read."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(13000, 13000), (60000, 60000), (8000, 8000)])
def test_a_picture_with_too_many_pixels_is_one_line(tmp_path, size):
    (tmp_path / "samples.png").write_bytes(huge(*size))
    lines = []
    assert copy_pictures(tmp_path, tmp_path / "site", "here", "of it", report=lines.append) == []
    (line,) = lines
    assert "million pixels" in line


def test_damaged_pictures_are_skipped(tmp_path):
    whole = io.BytesIO()
    Image.new("RGB", (40, 30)).save(whole, "png")
    for content in (whole.getvalue()[:60], b"", b"GIF89a", huge(10, 10)):
        (tmp_path / "samples.png").write_bytes(content)
        assert copy_pictures(tmp_path, tmp_path / "site", "here", "of it") == []


# two builds at once, and what a killed one left


def test_the_second_of_two_builds_at_once_is_refused(tmp_path):
    with replaced(tmp_path / "site") as stage:
        (stage / "a.html").write_text("first")
        with pytest.raises(RunError, match="another process"), replaced(tmp_path / "site"):
            pass
    assert (tmp_path / "site" / "a.html").read_text() == "first"
    assert {path.name for path in (tmp_path / "site").iterdir()} == {"a.html", "contents.txt"}


def test_what_a_killed_build_left_is_removed(tmp_path):
    out = tmp_path / "site"
    (out / ".building").mkdir(parents=True)
    for name in (".building/b.html", ".building.lock", ".contents.txt.a1b2c3d4"):
        (out / name).write_text("")
    with replaced(out) as stage:
        (stage / "a.html").write_text("new")
    assert {path.name for path in out.iterdir()} == {"a.html", "contents.txt"}
    (out / ".mine.a1b2c3d4").write_text("")
    with pytest.raises(RunError, match="did not write"), replaced(out):
        pass
