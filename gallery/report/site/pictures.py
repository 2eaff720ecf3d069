"""The pictures of a fitted pair on the site: captions, sizes, and copies beside the pages.

Only pictures with a name that the gallery draws are copied, and only files that Pillow reads as images; links are not
followed. Those of a run are decoded and encoded anew; those of the ledger are the gallery's own.
"""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageSequence

import data
from gallery.ledger.tables import LEDGER
from gallery.report.site.captions import CAPTIONS, OF_CLASSES, READINGS
from inference.files import is_regular, make_folder, write_atomically

__all__ = ["Picture", "copy_pictures", "has_classes", "known_pictures", "rank", "refusal"]

MOST_PIXELS = 50_000_000  # of all frames of a picture; a larger one is left out
LARGEST = 120_000  # bytes; a larger picture has 256 colours, and is scaled down
WIDTH = 1100  # width in pixels of a picture that was scaled down
WIDE = 760  # pixels: in half of a page, the labels of a wider picture would be illegible


@dataclass(frozen=True)
class Picture:
    """A picture on a page.

    :param src: its path relative to the pages; for an animation, that of its last frame
    :param alt: the text alternative
    :param moving: the path of the animation; None for a still picture
    :param reading: how to read it, in one sentence; empty if the gallery has none
    """

    src: str
    caption: str
    alt: str
    width: int
    height: int
    moving: str | None = None
    reading: str = ""

    @property
    def is_wide(self) -> bool:
        """Whether it takes the width of a page."""
        return self.width > WIDE


def has_classes(name: str) -> bool:
    """Return whether data of the catalogue have classes.

    >>> has_classes("digits:grey"), has_classes("factor_analysis")
    (True, False)

    :param name: as of `data.load`
    """
    return name.partition(":")[0] in {known.name for known in data.describe() if known.has_classes}


def known_pictures(folder: Path) -> list[Path]:
    """Return the pictures of a folder that have a caption, in the order of display; none if there is no folder."""
    paths = [path for path in folder.glob("*") if path.suffix in (".png", ".gif") and path.stem in CAPTIONS]
    return sorted(paths, key=rank)


def rank(path: Path) -> int:
    """Return the place of a picture in the order of display, from 0."""
    return list(CAPTIONS).index(path.stem)


def _copy(path: Path, target: Path) -> tuple[int, int] | None:
    """Copy a picture, scaled down if its file is large; or the last frame of an animation.

    Of a picture of a run, nothing but pixels and the durations of frames is kept: no text, no other data of the file.

    :return: (width, height); None if the file is damaged, too large, a link, or no picture
    """
    if refusal(path) is not None:
        return None
    make_folder(target.parent)
    content = io.BytesIO()
    moving, large = target.suffix == ".gif", path.suffix != target.suffix or path.stat().st_size > LARGEST
    try:
        with Image.open(path, formats=("PNG", "GIF")) as image:
            size = image.size
            if LEDGER in path.parents and (moving or not large):
                content.write(path.read_bytes())
            elif moving:
                first, *others = [_pixels(frame) for frame in ImageSequence.Iterator(image)]
                durations = [frame.info.get("duration", 100) for frame in ImageSequence.Iterator(image)]
                first.save(content, "gif", save_all=True, append_images=others, duration=durations, loop=0)
            else:
                image.seek(getattr(image, "n_frames", 1) - 1)
                copied = image.convert("RGB") if large else _pixels(image)
                if large:
                    copied.thumbnail((WIDTH, 10 * WIDTH))
                    copied = copied.quantize(256, Image.Quantize.MAXCOVERAGE)
                    copied.info = {}
                copied.save(content, "png", optimize=large)
                size = copied.size
    except (OSError, SyntaxError, ValueError, EOFError):  # what Pillow raises
        return None
    write_atomically(target, content.getvalue())
    return size


def _pixels(image: Image.Image) -> Image.Image:
    """Return a copy of a frame without the information that Pillow would write besides the pixels."""
    copied = image.copy()
    copied.info = {}
    return copied


def refusal(path: Path) -> str | None:
    """Return why a picture is left out: it is a link or has too many pixels; None otherwise."""
    if not is_regular(path) or path.parent.is_symlink():
        return f"{path} is left out: it is no file but a link or a folder."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about large pictures
            with Image.open(path, formats=("PNG", "GIF")) as image:
                pixels = image.size[0] * image.size[1] * getattr(image, "n_frames", 1)
    except Image.DecompressionBombError:
        pixels = 2 * MOST_PIXELS
    except (OSError, SyntaxError, ValueError, EOFError):
        pixels = 0  # no picture
    return (
        f"{path} is left out: it has more than {MOST_PIXELS // 10**6} million pixels." if pixels > MOST_PIXELS else None
    )


def copy_pictures(
    folder: Path,
    site: Path,
    where: str,
    of: str,
    more: dict[str, str] | None = None,
    report: Callable[[str], None] = lambda line: None,
    classes: bool = False,
) -> list[Picture]:
    """Copy the pictures of a folder to `site/pictures/where`. Other files are skipped.

    :param of: the subject of the pictures, for their text alternatives
    :param more: further text alternatives by the name of the picture
    :param report: called with one line for each picture that is a link or has too many pixels
    :param classes: whether the data have classes
    :return: the pictures in the order of display; empty if there is no folder
    """
    pictures = []
    for path in known_pictures(folder):
        src, moving = f"pictures/{where}/{path.stem}.png", None
        if (line := refusal(path)) is not None:
            report(line)
        if (size := _copy(path, site / src)) is None:
            continue
        if path.suffix == ".gif":
            moving = f"pictures/{where}/{path.name}"
            _copy(path, site / moving)
        caption, reading = CAPTIONS[path.stem], READINGS[path.stem]
        if classes:
            caption, reading = OF_CLASSES.get(path.stem, (caption, reading))
        alt = ". ".join(filter(None, (caption, of, (more or {}).get(path.stem, ""))))
        pictures.append(Picture(src, caption, alt, *size, moving, reading))
    return pictures
