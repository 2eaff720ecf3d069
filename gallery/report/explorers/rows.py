"""Images row by row: drawn from the model, completed from their first half, and completed from a drawing.

Where the networks of the pair fit into the page, a drawing is completed there, by as many rows as the reader leaves.
"""

from typing import Any

import torch
from torch import Tensor

from data import Dataset
from gallery.figures.info import info_of
from gallery.figures.sequence import HIDDEN, complete
from gallery.figures.style import limits, number
from gallery.report.explorers.drawing import LIBRARIES, examples, is_grey, lab, sheet, small_print, source_of
from gallery.report.explorers.fragment import fragment, options, packed
from gallery.report.explorers.network import bits_of, quantised
from gallery.report.explorers.recurrent import Recurrent, recurrent_of
from inference import Pair, evaluate, sample

__all__ = ["rows"]

COLUMNS, DOWN = 4, 3
ROWS = 300  # test images in means


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
    networks = recurrent_of(info, test) if info.filters and is_grey(test) else None
    bits = bits_of(networks.weights) if networks else None
    if networks and bits:
        fitted, pair = pair, quantised(pair, bits)
        networks = recurrent_of(info_of(pair, test), test)
    sets = [("drawn from the model", sample(pair, test.x, n, seed=seed)["mean"], 0)]
    if info.filters:
        few = test.head(COLUMNS)
        means = torch.cat([complete(pair, few, seed + i) for i in range(DOWN)])
        sets.append((f"completed from the first {steps // 2} rows of {test.split} images", means, steps // 2))
    low, high = limits(test.x)
    data: dict[str, Any] = {
        "steps": steps,
        "columns": COLUMNS,
        "hidden": HIDDEN,
        "sets": [{"first": first, "pixels": packed(_levels(x, low, high), "u1")} for _, x, first in sets],
        "drawing": None,
    }
    small = (
        f"{n} images in {steps} steps from the top: the mean E[x_t | x_1:t−1, z_1:t], ink on white. A sample of x_t, "
        "not its mean, is the input of the next step. Later rows are grey."
    )
    names, source = [name for name, *_ in sets], f"{test.split.capitalize()} images: {test.name}."
    if info.filters:
        small += (
            f" Completed {test.split} images: one image per column, with its second half drawn {DOWN} times given the "
            "first half and its latents from the guide."
        )
    if networks and bits:
        data["drawing"] = {
            **examples(test),
            "binary": True,
            "split": test.split,
            **networks.pack(bits, n, test.x.shape[1] // steps, steps),
        }
        names.append("completions of the drawing")
        source = source_of(test, networks.weights, bits)
        exact, changed = (evaluate(it, test.x[:ROWS], particles=1)["elbo"]["value"] for it in (fitted, pair))
        small += (
            " Completions of the drawing: the latents of its rows are draws of the guide, later rows and their latents "
            f"are draws of the model. The mean ELBO of {len(test.x[:ROWS])} {test.split} images is "
            f"{number(exact, '.3f')} nats, and {number(changed, '.3f')} with weights rounded to {bits} bits."
        )
    hint = "Play shows the images appear, row by row."
    if networks:
        hint = f"Draw the upper rows of a digit: the model draws the others, {n} times. {hint}"
    body = lab(_body(test, steps, names, networks) + small_print(small))
    return fragment("rows", source, body, data, hint, LIBRARIES)


def _levels(x: Tensor, low: float, high: float) -> Tensor:
    """Return pixels between `low` and `high` as integers, 0 to 255."""
    return ((x - low) / (high - low) * 255).clamp(0, 255).round().to(torch.uint8)


def _body(test: Dataset, steps: int, names: list[str], networks: Recurrent | None) -> str:
    height, width = test.shape[-2:]
    size = f'width="{COLUMNS * (width + 2) - 2}" height="{DOWN * (height + 2) - 2}"'
    view = f'viewBox="0 0 {COLUMNS * (width + 2) - 2} {DOWN * (height + 2) - 2}"'
    drawn = ""
    if networks:
        below = f"""<label>rows given <input type="range" data-part="cut" min="1" max="{steps - 1}" step="1"
 value="{steps // 2}"></label><p class="buttons"><button type="button" data-part="noise">New draws</button></p>"""
        drawn = sheet(test, "x: draw the upper rows", below)
    return f"""<div class="parts">
{drawn}
<div class="part wide"><label>images <select data-part="set">{options(names)}</select></label>
<div class="over"><canvas data-part="picture" role="img" data-width="{width}" data-height="{height}" {size}></canvas>
<svg data-part="marks" {view} aria-hidden="true"></svg></div>
<p class="scale" aria-hidden="true">0 <i></i> 1</p>
<ul class="marks" data-part="legend"></ul>
<label>rows shown <input type="range" data-part="shown" min="0" max="{steps}" value="{steps}" step="1"></label>
<button type="button" data-part="play">Play</button>
<output data-part="status"></output></div>
</div>"""
