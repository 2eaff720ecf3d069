"""An image that is told row by row, appearing in time: drawn from the model, and completed from its first half."""

import torch
from torch import Tensor, nn

from data import Dataset
from gallery.figures.info import info_of
from gallery.figures.sequence import HIDDEN, complete
from gallery.figures.style import limits
from gallery.report.explorers.fragment import fragment, options, packed
from inference import sample

COLUMNS, DOWN = 4, 3


def rows(pair: nn.Module, test: Dataset, seed: int = 0) -> str | None:
    """The explorer of a model that tells grey images in steps, unconditionally; else None. Completions are there where
    the guide filters.

    :param pair: on the CPU
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
<label>rows told <input type="range" data-part="told" min="0" max="{steps}" value="{steps}" step="1"></label>
<button type="button" data-part="play">Play</button>
<output data-part="said"></output>"""
    caption = (
        f"{n} images, told in {steps} steps from the top: the mean E[x_t | x_1:t−1, z_1:t], ink on white, where "
        "what is fed back into the model is a sample of x_t and not its mean. Grey is not told yet."
    )
    if info.filters:
        caption += (
            f" Completed: a {test.split} image in each column, and its second half drawn {DOWN} times, given the first "
            "half and the latents that the guide draws for it."
        )
    return fragment("rows", caption, body, data)


def _levels(x: Tensor, low: float, high: float) -> Tensor:
    """Pixels from `low` to `high` as whole numbers, 0 to 255."""
    return ((x - low) / (high - low) * 255).clamp(0, 255).round().to(torch.uint8)
