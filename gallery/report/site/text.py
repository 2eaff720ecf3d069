"""Mathematics, sentences, source code and Markdown as HTML. All other text is escaped.

words("The guide is $q(z \\mid x)$, in `vae.py`.")     # MathML and code in a sentence
"""

import re
from functools import cache

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

__all__ = ["code", "markdown", "mathematics", "words"]

LETTERS = re.compile(r'(?:<mi mathvariant="normal">\w</mi>){2,}')
"""The output of latex2mathml for \\mathrm{Normal}, letter by letter. One <mi> is set upright, and read as a word."""

LONG = 32  # characters; a longer formula scrolls on a narrow screen


@cache
def mathematics(latex: str, display: str = "inline") -> Markup:
    """Convert LaTeX to MathML.

    latex2mathml copies < and > of its input unescaped, and writes ~ as a letter. The replacements correct this.

    :param display: "inline" or "block"
    """
    safe = latex.replace("<", r"\lt ").replace(">", r"\gt ")
    html = LETTERS.sub(lambda word: f"<mi>{re.sub('<[^>]*>', '', word[0])}</mi>", convert(safe, display=display))
    html = html.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")
    return Markup(f'<span class="long">{html}</span>' if display == "inline" and len(latex) > LONG else html)


def words(text: str) -> Markup:
    """Convert a sentence with $mathematics$, `code` and *emphasis* to HTML."""
    marks = {"$": mathematics, "`": Markup("<code>{}</code>").format, "*": Markup("<em>{}</em>").format}
    parts = re.split(r"(\$[^$]+\$|`[^`]+`|\*\w[^*]*\*)", text)
    return Markup("").join(marks[part[0]](part[1:-1]) if i % 2 else escape(part) for i, part in enumerate(parts))


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
