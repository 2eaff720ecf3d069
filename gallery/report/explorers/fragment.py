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

__all__ = ["fragment", "options", "packed", "rounded"]


def fragment(name: str, caption: str, body: str, data: dict[str, Any]) -> str:
    """Return a <figure>: controls, caption, data as JSON, and the scripts shared.js and name.js.

    :param caption: plain text, which is escaped here
    :param body: HTML of the controls; the script finds them by their attribute `data-part`
    """
    here = files(__package__)
    style, shared, script = ((here / file).read_text() for file in ("style.css", "shared.js", f"{name}.js"))
    inline = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f"""<figure class="explorer" data-explorer="{name}">
<style>
{style}</style>
{body}
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


def packed(values: Tensor | np.ndarray, kind: type | str = np.float32) -> str:
    """Encode values in base64, little-endian, by default as float32."""
    return base64.b64encode(np.ascontiguousarray(values, np.dtype(kind).newbyteorder("<")).data).decode()


def rounded(values: Tensor, digits: int = 3) -> list:
    """Return the values as lists, rounded to a number of decimal digits."""
    return np.round(values.double().numpy(), digits).tolist()
