"""One page: a Jinja2 template with autoescaping, an inlined style sheet and a Content-Security-Policy."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gallery.report.site.font import font_faces
from gallery.report.site.glossary import link_terms
from gallery.report.site.text import code, mathematics, words
from inference.files import write_atomically

__all__ = ["PAGES", "policy", "write_page"]

PAGES = {
    "index.html": "Models",
    "course.html": "Course",
    "comparisons.html": "Comparisons",
    "inference.html": "Inference",
    "numbers.html": "How to read the numbers",
    "glossary.html": "Glossary",
    "api.html": "API",
    "map.html": "From the sources",
    "corrections.html": "Corrections",
}
ENVIRONMENT = Environment(
    loader=PackageLoader(__package__), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
)
ENVIRONMENT.filters |= {"code": code, "mathematics": mathematics, "words": words}


def policy(fragments: Iterable[str]) -> str:
    """Return a Content-Security-Policy that permits the pictures beside a page and the scripts of `fragments`."""
    scripts = [script for part in fragments for script in re.findall(r"<script>(.*?)</script>", part, flags=re.DOTALL)]
    hashes = sorted({f"'sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts})
    allowed = " ".join(hashes) or "'none'"
    return (
        "default-src 'none'; img-src 'self' file: data:; style-src 'unsafe-inline'; font-src data:; "
        f"script-src {allowed}; base-uri 'none'; form-action 'none'"
    )


def write_page(site: Path, file: str, template: str, explorers: Iterable[str | None] = (), **context: Any) -> None:
    """Write `site/file` from a template.

    :param explorers: fragments with scripts, which the template gets as Markup
    :param context: the other variables of the template
    """
    fragments = [fragment for fragment in explorers if fragment]
    html: str = ENVIRONMENT.get_template(template).render(
        file=file,
        pages=PAGES.items(),
        policy=policy(fragments),
        style=Markup((files(__package__) / "style.css").read_text(encoding="utf-8")),
        explorers=list(map(Markup, fragments)),
        **context,
    )
    if "<math" in html:
        html = html.replace("</style>", f"{font_faces()}\n</style>", 1)
    write_atomically(site / file, _linked(html, file).encode())


def _linked(html: str, file: str) -> str:
    """Link the terms in the main part of a page; the glossary and the signatures of the API are unchanged."""
    if file in ("glossary.html", "api.html"):
        return html
    head, start, rest = html.partition('<main id="main">')
    main, end, tail = rest.partition("</main>")
    return head + start + link_terms(main) + end + tail
