"""Overfitting of autoencoders and the size of their codes in bits, by width of the code.

Codes of several widths are fitted to all training images and to FEW of them, with the same number of steps. An
overcomplete code, wider than the image, does not imply overfitting. Overfitting is a test error above the training
error, and depends on the number of training images.

Real-valued codes have no finite size in bits until they are quantised. Here every unit is rounded to one of a few
levels between its smallest and largest training value. A level costs -log2 of its frequency in the training codes.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from gallery.figures import compression, overfitting, save
from gallery.models.autoencoder import Autoencoder
from gallery.runs import training
from gallery.runs.prepare import noise_of
from inference import SVI
from inference.files import write_atomically

__all__ = ["FEW", "LEVELS", "WIDTHS", "reproduce", "rounded"]

WIDTHS, FEW, LEVELS = (2, 8, 32, 144, 1024), 1000, (2, 4, 8, 16, 32)


@torch.no_grad()
def _error(pair: Autoencoder, x: Tensor, z: Tensor) -> float:
    """Return the squared error of images decoded from z, summed over pixels and averaged over images."""
    return (pair.decoder(z).mean - x).square().sum(1).mean().item()


@torch.no_grad()
def rounded(train: Tensor, z: Tensor, levels: int) -> tuple[Tensor, float]:
    """Quantise codes: round every unit to one of `levels` values.

    :param train: (m, width), codes that define the levels and their frequencies. Every count is incremented by one, so
        that no level has probability 0
    :param z: (n, width), codes to quantise
    :return: the quantised codes (n, width), and their size in bits per data point
    """
    low, high = train.amin(0), train.amax(0)
    size = ((high - low) / (levels - 1)).clamp(min=1e-12)
    known, level = (((codes - low) / size).round().clamp(0, levels - 1) for codes in (train, z))
    bits = z.new_zeros(len(z))
    for i in range(levels):
        count = (known == i).sum(0) + 1  # (width,)
        bits += ((level == i) * (count / (len(train) + levels)).log2().neg()).sum(1)
    return low + level * size, bits.mean().item()


def reproduce(
    folder: Path, fitted: Path, widths: Sequence[int] = WIDTHS, few: int = FEW, levels: Sequence[int] = LEVELS
) -> dict[str, Any]:
    """Refit a run with each width of the code, and write widths.json and its two figures.

    :param folder: where the three files are written
    :param fitted: folder of the run
    :param widths: numbers of units of the code
    :param few: number of training images of the smaller of two fits at each width; the other has all
    :param levels: numbers of values that a rounded unit can take
    :return: the content of the file: squared errors summed over pixels, per data point, and bits per image
    """
    run, _ = training.load(fitted)
    train, test = (run.datasets()[split].x for split in ("train", "test"))
    by_width: list[dict[str, float]] = []
    by_code: list[dict[str, float]] = []
    for n in (few, len(train)):
        x = train[:n]
        for width in widths:
            pair = cast(Autoencoder, replace(run, keywords=run.keywords | {"latent_dim": width}).build())
            settings = replace(run.settings, epochs=round(run.settings.epochs * len(train) / n))
            with noise_of(run):
                for _ in SVI(pair, x, settings=settings):
                    pass
            with torch.no_grad():
                known, z = pair.eval().encoder(x), pair.encoder(test)
            errors = {"train": _error(pair, x, known), "test": _error(pair, test, z)}
            by_width.append({"width": width, "images": n, **errors})
            if n == len(train):
                for level in levels:
                    code, bits = rounded(known, z, level)
                    by_code.append({"width": width, "levels": level, "bits": bits, "test": _error(pair, test, code)})
    mean_image = (test - train.mean(0)).square().sum(1).mean().item()
    unit = "squared error summed over pixels, per data point"
    result = {"unit": unit, "data": run.data, "mean_image": mean_image, "widths": by_width, "codes": by_code}
    save(overfitting(result), folder / "widths.png")
    save(compression(result), folder / "bits.png")
    write_atomically(folder / "widths.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
