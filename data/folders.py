"""The user's folder of images: flat, or a sub-folder per class, or one sub-folder per split that is either.

Images are turned as their EXIF orientation states. Transparent pixels are composed on white.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from data.arrays import Arrays
from data.dataset import DataError

__all__ = ["from_folder"]

IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
OTHER_IMAGES = (".gif", ".tif", ".tiff", ".webp", ".heic", ".avif", ".jfif", ".jp2", ".pbm", ".pgm", ".ppm", ".tga")
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
}
GROUND = "white"  # beneath transparent pixels
ORIENTATION = 0x0112  # the EXIF tag


def from_folder(path: str) -> tuple[dict[str, Arrays], list[str]]:
    """Return the images of a folder, uint8, and the names of their sub-folders as labels; and notes.

    :return: the arrays of the part "", or of "train" and what else of "validation" and "test" there is
    :raises DataError: if there are no images, they differ in size or colour, or one cannot be read
    """
    folder, done = Path(path), Counter[str]()
    parts: dict[str, Arrays] = {}
    for part, inside in _parts(folder).items():
        parts[part] = _read(inside, done)
    notes = [f"{count} of {sum(len(p['x']) for p in parts.values())} images {what}" for what, count in done.items()]
    if list(parts) == ["train"]:
        return {"": parts["train"]}, notes
    return parts, notes


def _parts(folder: Path) -> dict[str, Path]:
    """Return the folder of each split, or the folder itself as the part ""."""
    inside = [sub for sub in sorted(folder.iterdir()) if sub.is_dir() and not sub.name.startswith(".")]
    splits = [sub for sub in inside if sub.name.lower() in SPLIT_FOLDERS]
    others = [sub for sub in inside if sub not in splits and _images(sub.iterdir())]
    parts = {SPLIT_FOLDERS[sub.name.lower()]: sub for sub in splits}
    if not splits:
        return {"": folder}
    names = ", ".join(sub.name for sub in splits)
    if others or len(parts) < len(splits) or _images(folder.iterdir()):
        other = f" beside {others[0].name}" if others else ""
        raise DataError(
            f"folder {folder} has {names}{other}, and these names are splits. Keep train, validation and test alone in "
            "it, or rename the folders of classes."
        )
    if "train" not in parts:
        raise DataError(f"folder {folder} has {names}, and no train. Name the training images' folder train.")
    return {part: parts[part] for part in ("train", "validation", "test") if part in parts}


def _read(folder: Path, done: Counter[str]) -> Arrays:
    """Read a folder that is flat or has a sub-folder per class; count in `done` what is done to images."""
    inside = sorted(folder.iterdir())
    flat = _images(inside)
    subs = [sub for sub in inside if sub.is_dir() and not sub.name.startswith(".")]
    classes = {sub.name: images for sub in subs if (images := _images(sub.iterdir()))}
    if bool(flat) == bool(classes):
        fault = "images both in it and in sub-folders" if flat else f"no {', '.join(IMAGES)}"
        raise DataError(f"folder {folder} has {fault}. Put all images into it, or into one sub-folder per class.")
    files = flat or [file for images in classes.values() for file in images]
    places = {place for held in {folder, *(file.parent for file in files)} for place in _visible(held)}
    left = sorted({path for path in places if path.suffix.lower() in (*IMAGES, *OTHER_IMAGES)} - {*files})
    if left:
        raise DataError(
            f"folder {folder} has images that are not read ({len(left)}), such as {left[0].relative_to(folder)}: of "
            f"another format, or not directly in the folder of a class. Convert them to {IMAGES[0]}, or move them."
        )
    x = np.empty(0)
    for i, file in enumerate(files):
        image = _read_image(file, done)
        if i == 0:
            x = np.empty((len(files), *image.shape), np.uint8)
        if image.shape != x.shape[1:]:
            raise DataError(
                f"{file} has shape {image.shape}, but {files[0].name} has {x.shape[1:]}. Give all images one size, and "
                "make all grey or all coloured."
            )
        x[i] = image
    return {"x": x} | ({} if flat else {"labels": np.repeat(list(classes), [len(own) for own in classes.values()])})


def _visible(folder: Path) -> Iterable[Path]:
    """Yield the files in a folder and its sub-folders, without hidden ones and without following links."""
    for place, subs, files in os.walk(folder):
        subs[:] = [sub for sub in subs if not sub.startswith(".")]
        yield from (Path(place, file) for file in files if not file.startswith("."))


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in IMAGES and not path.name.startswith("."))


def _read_image(file: Path, done: Counter[str]) -> np.ndarray:
    """Read an image, upright and without transparency, as (h, w) or (h, w, 3), uint8."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as stored:
                if stored.mode[0] in "IF":  # PIL would clip the values at 255
                    raise ValueError(f"mode {stored.mode} has more than 8 bits a pixel")
                grey = stored.mode in ("1", "L", "LA")
                turned = stored.getexif().get(ORIENTATION, 1) in range(2, 9)
                image = ImageOps.exif_transpose(stored) if turned else stored
                if image.has_transparency_data:
                    image = image.convert("RGBA")
                    if image.getchannel("A").getextrema() != (255, 255):
                        done[f"have transparent pixels, composed on {GROUND}"] += 1
                        image = Image.alpha_composite(Image.new("RGBA", image.size, GROUND), image)
                if turned:
                    done["turned by their EXIF orientation"] += 1
                return np.asarray(image.convert("L" if grey else "RGB"))
    except Exception as error:
        raise DataError(f"{file} is no 8-bit image ({error}). Convert it, or remove it.") from error
