"""A self-contained HTML fragment: style, controls, data and script, without requests.

A fragment has no id and sets no global variable, so one page can have several. Its script runs when the browser parses
it: a fragment must be part of the page, and does nothing if it is set by `innerHTML`.
"""

import base64
import html
import json
from importlib.resources import files
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["buttons", "fragment", "legend", "options", "packed", "readings", "rounded", "slider", "table"]


def fragment(
    name: str, caption: str, body: str, data: dict[str, Any], hint: str = "", parts: tuple[str, ...] = ()
) -> str:
    """Return a <figure>: controls, caption, data as JSON, and the scripts shared.js, those of `parts`, and name.js.

    :param caption: plain text, which is escaped here
    :param body: HTML of the controls; the script finds them by their attribute `data-part`
    :param hint: what to try, in one sentence of plain text above the controls
    :param parts: names of further scripts of this folder that name.js uses, without .js
    """
    here = files(__package__)
    style = (here / "style.css").read_text(encoding="utf-8")
    shared, *more, script = ((here / f"{it}.js").read_text(encoding="utf-8") for it in ("shared", *parts, name))
    shared = "\n".join([shared, *more])
    inline = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    above = f'<p class="hint">{html.escape(hint)}</p>\n' if hint else ""
    return f"""<figure class="explorer" data-explorer="{name}">
<style>
{style}</style>
{above}{body}
<figcaption>{html.escape(caption)}</figcaption>
<noscript><p>This figure needs scripts, which this browser does not run.</p></noscript>
<script type="application/json" data-part="data">{inline}</script>
<script>(() => {{
"use strict";
{shared}
{script}}})();</script>
</figure>
"""


def options(names: list[str]) -> str:
    """Return the <option> elements of a <select>."""
    return "".join(f"<option>{html.escape(name)}</option>" for name in names)


def legend(*entries: tuple[str, str]) -> str:
    """Return the legend of a chart: (class of the mark in style.css, text)."""
    items = "".join(f'<li class="{kind}">{html.escape(text)}</li>' for kind, text in entries)
    return f'<ul class="legend">{items}</ul>'


def table(summary: str, header: list[str], rows: list[list[str]]) -> str:
    """Return a folded table of numbers that the script fills in.

    :param rows: a heading, and the name of the number in each other cell; "low high" is an interval
    """
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    lines = ""
    for heading, *names in rows:
        cells = (" to ".join(f'<span data-number="{name}"></span>' for name in cell.split()) for cell in names)
        lines += f"<tr><th>{heading}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    return (
        f'<details><summary>{summary}</summary><div class="scroll" tabindex="0" role="region" aria-label="{summary}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div></details>"
    )


def readings(*entries: tuple[str, str, str]) -> str:
    """Return a list of numbers that the script fills in: (name, label, unit)."""
    items = "".join(
        f'<div><dt>{html.escape(label)}</dt><dd><b data-number="{name}"></b> {html.escape(unit)}</dd></div>'
        for name, label, unit in entries
    )
    return f'<dl class="readings">{items}</dl>'


def buttons(*entries: tuple[str, str]) -> str:
    """Return a row of buttons: (data-part, text)."""
    items = "".join(f'<button type="button" data-part="{part}">{html.escape(text)}</button>' for part, text in entries)
    return f'<p class="buttons">{items}</p>'


def slider(part: str, label: str, low: float, high: float, value: float, step: float = 1) -> str:
    """Return a labelled slider."""
    return (
        f'<label>{html.escape(label)} <input type="range" data-part="{part}" min="{low}" max="{high}" '
        f'value="{value}" step="{step}"></label>'
    )


def packed(values: Tensor | np.ndarray, kind: type | str = np.float32) -> str:
    """Encode values in base64, little-endian, by default as float32."""
    return base64.b64encode(np.ascontiguousarray(values, np.dtype(kind).newbyteorder("<")).data).decode()


def rounded(values: Tensor, digits: int = 3) -> list:
    """Return the values as lists, rounded to a number of decimal digits."""
    return np.round(values.double().numpy(), digits).tolist()
