"""Mathematics, sentences, source code and Markdown as HTML. All other text is escaped.

words("The guide is $q(z \\mid x)$, in `vae.py`.")     # MathML and code in a sentence
"""

import re
from collections.abc import Callable
from functools import cache

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

__all__ = ["code", "followed", "markdown", "mathematics", "sentence", "words"]

LETTERS = re.compile(r'(?:<mi mathvariant="normal">\w</mi>){2,}')
"""The output of latex2mathml for \\mathrm{Normal}, letter by letter. One <mi> is set upright, and read as a word."""

SIGN = re.compile(r"(<mo[^>]*>(?:&#x0003D;|&#x02265;|&#x02264;|&#x00028;|\[|&#x0002C;)</mo>)<mo>&#x02212;</mo>")
"""A minus sign after = or a bracket, as latex2mathml writes it: without its form it is set as a difference is."""

LONG = 32  # characters; a longer formula scrolls on a narrow screen


@cache
def mathematics(latex: str, display: str = "inline") -> Markup:
    """Convert LaTeX to MathML.

    latex2mathml copies < and > of its input unescaped, writes ~ as a letter, and sets no space beside a logarithm.
    The replacements correct this.

    :param display: "inline" or "block"
    """
    spaced = re.sub(r"(?<=[\w)]) *\\log\b", r"\\,\\log", latex).replace(r"\log ", r"\log\,")
    safe = spaced.replace("<", r"\lt ").replace(">", r"\gt ")
    html = LETTERS.sub(lambda word: f"<mi>{re.sub('<[^>]*>', '', word[0])}</mi>", convert(safe, display=display))
    html = html.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")
    html = SIGN.sub(r'\1<mo form="prefix">&#x02212;</mo>', html)
    return Markup(f'<span class="long">{html}</span>' if display == "inline" and len(latex) > LONG else html)


def words(text: str) -> Markup:
    """Convert a sentence with $mathematics$, `code` and *emphasis* to HTML.

    No line begins with its punctuation, and none ends within a --flag.
    """
    marks: dict[str, Callable[[str], Markup]] = {
        "$": lambda part: followed(*part.split("$")),
        "`": _command,
        "*": Markup("<em>{}</em>").format,
    }
    parts = re.split(r"(\$[^$]+\$[.,;:?!)]*|`[^`]+`|\*\w[^*]*\*)", text)
    return Markup("").join(
        marks[part[0]](part[1:] if part[0] == "$" else part[1:-1]) if i % 2 else escape(part)
        for i, part in enumerate(parts)
    )


def _command(text: str) -> Markup:
    """Convert code within a sentence: a flag such as --lr is not broken at its hyphens."""
    flag = Markup('<span class="nowrap">{}</span>').format
    parts = re.split(r"(?<!\S)(--?\w\S*)", text)
    return Markup("<code>{}</code>").format(
        Markup("").join(flag(part) if i % 2 else escape(part) for i, part in enumerate(parts))
    )


def followed(latex: str, after: str) -> Markup:
    """Convert LaTeX with the punctuation after it, which stays on its line."""
    return Markup('<span class="nowrap">{}{}</span>').format(mathematics(latex), after) if after else mathematics(latex)


def sentence(text: str) -> str:
    """Return a text with a capital letter, unless it begins with a formula.

    >>> sentence("squared error"), sentence("log p(x), exact"), sentence("k-hat above 0.7")
    ('Squared error', 'log p(x), exact', 'k-hat above 0.7')
    """
    return text if re.match(r"log p|[a-z]\W", text) else text[:1].upper() + text[1:]


def code(source: str, language: str = "python") -> Markup:
    """Highlight source code with the classes of style.css, for a <code> element."""
    return Markup(highlight(source, get_lexer_by_name(language, stripnl=False), HtmlFormatter(nowrap=True)))


def markdown(text: str, of: str) -> Markup:
    """Convert CommonMark with tables to HTML. HTML in it is escaped, and each table scrolls in a box.

    :param of: the accessible name of a table
    """
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text.replace("<br>", "; "))
    box = Markup('<div class="scroll" tabindex="0" role="region" aria-label="{}"><table>').format(of)
    return Markup(html.replace("<table>", box).replace("</table>", "</table></div>"))
