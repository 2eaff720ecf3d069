"""How wide a code should be: does a wider one overfit, and what does it cost in bits?

Codes of several widths, fitted to all training images and to FEW of them, in equally many steps. That a code is
overcomplete, wider than the image, is no overfitting: that is a test error above the training error, and it depends on
how many images there were. And real numbers compress nothing until they are rounded. Here every unit is rounded to one
of a few levels between its least and its largest value in training, and costs the more bits the rarer the level was
there: a code that could be stored.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from gallery.figures import compression, overfitting, save
from gallery.runs import training as runs
from inference import SVI
from inference.files import write_atomically

WIDTHS, FEW, LEVELS = (2, 8, 32, 144, 1024), 1000, (2, 4, 8, 16, 32)


@torch.no_grad()
def _error(pair: nn.Module, x: Tensor, z: Tensor) -> float:
    """The squared error, summed over pixels, of images decoded from z, a mean over data."""
    return (pair.decoder(z).mean - x).square().sum(1).mean().item()


@torch.no_grad()
def rounded(train: Tensor, z: Tensor, levels: int) -> tuple[Tensor, float]:
    """(z, every unit rounded to one of `levels`; what that costs in bits per data point).

    :param train: (m, width), codes from which levels and their frequencies are taken; each level is counted once more
        than it is seen, so that none is impossible
    :param z: (n, width)
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
) -> dict:
    """Fits the run in `fitted` anew with each width; writes widths.json: squared errors summed over pixels, per
    datum, and bits per image; and its two figures."""
    run, _ = runs.load(fitted)
    train, test = (run.datasets()[split].x for split in ("train", "test"))
    of_widths, of_codes = [], []
    for n in (few, len(train)):
        x = train[:n]
        for width in widths:
            torch.manual_seed(run.settings.seed)
            pair = replace(run, keywords=run.keywords | {"latent_dim": width}).build()
            settings = replace(run.settings, epochs=round(run.settings.epochs * len(train) / n))
            for _ in SVI(pair, x, settings=settings):
                pass
            with torch.no_grad():
                known, z = pair.eval().encoder(x), pair.encoder(test)
            errors = {"train": _error(pair, x, known), "test": _error(pair, test, z)}
            of_widths.append({"width": width, "images": n, **errors})
            if n == len(train):
                for level in levels:
                    code, bits = rounded(known, z, level)
                    of_codes.append({"width": width, "levels": level, "bits": bits, "test": _error(pair, test, code)})
    mean_image = (test - train.mean(0)).square().sum(1).mean().item()
    unit = "squared error summed over pixels, per data point"
    found = {"unit": unit, "data": run.data, "mean_image": mean_image, "widths": of_widths, "codes": of_codes}
    save(overfitting(found), folder / "widths.png")
    save(compression(found), folder / "bits.png")
    write_atomically(folder / "widths.json", (json.dumps(found, indent=2) + "\n").encode())
    return found
