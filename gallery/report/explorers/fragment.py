"""A piece of HTML that stands by itself: its style, its controls, its data and its script, and nothing fetched.

A fragment has no id and leaves no global, so any number of them stand on one page. The script runs where the browser
meets it: a fragment belongs into the text of a page, and does nothing if it is put into one by `innerHTML`.
"""

import base64
import html
import json
from importlib.resources import files

import numpy as np
from torch import Tensor


def fragment(name: str, caption: str, body: str, data: dict) -> str:
    """A <figure>: the controls, the caption, data as JSON and name.js with what all explorers share.

    :param caption: plain text; it is escaped here
    :param body: HTML of the controls, whose elements have a `data-part` for the script to find
    """
    here = files(__package__)
    style, shared, script = ((here / file).read_text() for file in ("style.css", "shared.js", f"{name}.js"))
    inline = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f"""<figure class="explorer" data-explorer="{name}">
<style>
{style}</style>
{body}
<figcaption>{html.escape(caption)}</figcaption>
<noscript><p>This figure moves by a script, which this browser does not run.</p></noscript>
<script type="application/json" data-part="data">{inline}</script>
<script>(() => {{
"use strict";
{shared}
{script}}})();</script>
</figure>
"""


def options(names: list[str]) -> str:
    """The <option>s of a <select>."""
    return "".join(f"<option>{html.escape(name)}</option>" for name in names)


def packed(values: Tensor | np.ndarray, kind: type = np.float32) -> str:
    """The values in base64, little-endian, by default as float32."""
    return base64.b64encode(np.ascontiguousarray(values, np.dtype(kind).newbyteorder("<"))).decode()


def rounded(values: Tensor, digits: int = 3) -> list:
    """The values as lists, with so many digits behind the point."""
    return np.round(values.double().numpy(), digits).tolist()
