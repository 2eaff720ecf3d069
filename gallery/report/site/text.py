"""Mathematics, words, source code and Markdown as HTML. What is not written here is escaped.

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

LETTERS = re.compile(r'(?:<mi mathvariant="normal">\w</mi>){2,}')
"""What latex2mathml makes of \\mathrm{Normal}: letter by letter. As one word it is upright, and is read as a word."""

LONG = 32  # characters of a formula that may not fit into a line of a phone, where it scrolls by itself


@cache
def mathematics(latex: str, display: str = "inline") -> Markup:
    """LaTeX as MathML; `display` is inline or block.

    latex2mathml writes < and > of its input as they are, and ~ as a letter: hence the replacements.
    """
    safe = latex.replace("<", r"\lt ").replace(">", r"\gt ")
    html = LETTERS.sub(lambda word: f"<mi>{re.sub('<[^>]*>', '', word[0])}</mi>", convert(safe, display=display))
    html = html.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")
    return Markup(f'<span class="long">{html}</span>' if display == "inline" and len(latex) > LONG else html)


def words(text: str) -> Markup:
    """A sentence with $mathematics$, `code` and *emphasis* in it."""
    marks = {"$": mathematics, "`": Markup("<code>{}</code>").format, "*": Markup("<em>{}</em>").format}
    parts = re.split(r"(\$[^$]+\$|`[^`]+`|\*\w[^*]*\*)", text)
    return Markup("").join(marks[part[0]](part[1:-1]) if i % 2 else escape(part) for i, part in enumerate(parts))


def code(source: str, language: str = "python") -> Markup:
    """Source with its words marked by the classes that style.css colours, for a <code> element."""
    return Markup(highlight(source, get_lexer_by_name(language, stripnl=False), HtmlFormatter(nowrap=True)))


def markdown(text: str, of: str) -> Markup:
    """CommonMark with tables; HTML in it is shown as text, and a table scrolls in a box of its own.

    :param of: what a table is of, for readers who do not see it
    """
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text.replace("<br>", "; "))
    box = Markup('<div class="scroll" tabindex="0" role="region" aria-label="{}"><table>').format(of)
    return Markup(html.replace("<table>", box).replace("</table>", "</table></div>"))
