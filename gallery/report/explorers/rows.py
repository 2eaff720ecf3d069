"""Images row by row: drawn from the model, and completed from their first half."""

import torch
from torch import Tensor

from data import Dataset
from gallery.figures.info import info_of
from gallery.figures.sequence import HIDDEN, complete
from gallery.figures.style import limits
from gallery.report.explorers.fragment import fragment, options, packed
from inference import Pair, sample

__all__ = ["rows"]

COLUMNS, DOWN = 4, 3


def rows(pair: Pair, test: Dataset, seed: int = 0) -> str | None:
    """Return the explorer of an unconditional model of grey images with one observed site per step.

    It has completions if the guide filters, that is, if its latents depend on earlier steps only.

    :param pair: on the CPU
    :return: None for another pair
    """
    info = info_of(pair, test)
    if not info.generates_rows(test.shape) or info.conditional or not info.generates:
        return None
    steps, n = len(info.data_sites), COLUMNS * DOWN
    sets = [("drawn from the model", sample(pair, test.x, n, seed=seed)["mean"], 0)]
    if info.filters:
        few = test.head(COLUMNS)
        means = torch.cat([complete(pair, few, seed + i) for i in range(DOWN)])
        sets.append((f"completed from the first {steps // 2} rows of {test.split} images", means, steps // 2))
    low, high = limits(test.x)
    data = {
        "steps": steps,
        "columns": COLUMNS,
        "hidden": HIDDEN,
        "sets": [{"first": first, "pixels": packed(_levels(x, low, high), "u1")} for _, x, first in sets],
    }
    height, width = test.shape[-2:]
    body = f"""<label>images <select data-part="set">{options([name for name, *_ in sets])}</select></label>
<canvas class="wide" data-part="picture" role="img" data-width="{width}" data-height="{height}"
 width="{COLUMNS * (width + 2) - 2}" height="{DOWN * (height + 2) - 2}"></canvas>
<label>rows shown <input type="range" data-part="shown" min="0" max="{steps}" value="{steps}" step="1"></label>
<button type="button" data-part="play">Play</button>
<output data-part="status"></output>"""
    caption = (
        f"{n} images in {steps} steps from the top: the mean E[x_t | x_1:t−1, z_1:t], ink on white. A sample of x_t, "
        "not its mean, is the input of the next step. Later rows are grey."
    )
    if info.filters:
        caption += (
            f" Completed: one {test.split} image per column, with its second half drawn {DOWN} times given the first "
            "half and its latents from the guide."
        )
    return fragment("rows", caption, body, data)


def _levels(x: Tensor, low: float, high: float) -> Tensor:
    """Return pixels between `low` and `high` as integers, 0 to 255."""
    return ((x - low) / (high - low) * 255).clamp(0, 255).round().to(torch.uint8)
