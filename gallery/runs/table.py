"""Aligned tables of text for a terminal and a notebook."""

import html
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gallery.errors import RunError

__all__ = ["Row", "Table", "aligned", "as_html", "file_name"]

MOST_ROWS = 60  # of a table that are printed

Row = tuple[str, str, str]  # label, number with its error, remark


def file_name(name: str) -> str:
    """Return the name of data without the folder of a file, and without the columns of a table.

    >>> file_name("/home/me/iris.csv?columns=a,b:real"), file_name("pictures/:grey"), file_name("digits:grey")
    ('iris.csv:real', 'pictures:grey', 'digits:grey')
    """
    return re.sub(r"\?[^:]*", "", Path(name.replace("/:", ":")).name)


def aligned(rows: list[Row], indent: str = "  ") -> list[str]:
    """Return rows as lines, with labels and numbers in columns; a row without a number reads `label: remark`.

    >>> aligned([("ELBO", "-1.75 +- 0.03", "a bound"), ("IWAE-16", "-1.7", ""), ("code", "", "collapsed")])
    ['  ELBO     -1.75 +- 0.03  a bound', '  IWAE-16  -1.7', '  code: collapsed']
    """
    label, number = (max((len(row[i]) for row in rows if row[1]), default=0) for i in (0, 1))
    return [
        (f"{indent}{row[0]:{label}}  {row[1]:{number}}  {row[2]}" if row[1] else f"{indent}{row[0]}: {row[2]}").rstrip()
        for row in rows
    ]


class Table(list[dict[str, Any]]):
    """Rows of named values that print as an aligned table; `frame` returns them as a DataFrame.

    >>> Table([{"latent": "w[0]", "mean": 0.51234, "sd": 0.1}, {"latent": "w[1]", "mean": 1.5}], "latents")
    latents
      latent    mean   sd
      w[0]    0.5123  0.1
      w[1]       1.5

    :param rows: a dictionary each; a value that a row lacks is left empty
    :param heading: the line above the table
    """

    def __init__(self, rows: Iterable[dict[str, Any]], heading: str = "") -> None:
        super().__init__(rows)
        self.heading = heading

    @property
    def columns(self) -> list[str]:
        """The names of all values, in the order of their first row."""
        return list(dict.fromkeys(name for row in self for name in row))

    def __repr__(self) -> str:
        cells = [self.columns, *([_cell(row.get(name)) for name in self.columns] for row in self[:MOST_ROWS])]
        text = {name: any(isinstance(row.get(name), str) for row in self) for name in self.columns}
        widths = [max(len(line[i]) for line in cells) for i in range(len(self.columns))]
        lines = [self.heading] if self.heading else []
        for line in cells if self else []:
            parts = [
                f"{cell:{'<' if text[name] else '>'}{width}}"
                for cell, name, width in zip(line, self.columns, widths, strict=True)
            ]
            lines.append(f"  {'  '.join(parts)}".rstrip())
        more = len(self) - MOST_ROWS
        return "\n".join([*lines, *([f"  ... and {more} more rows"] if more > 0 else [])])

    def _repr_html_(self) -> str:
        return as_html(repr(self))

    def frame(self) -> Any:
        """Return the rows as a pandas DataFrame.

        :raises RunError: if pandas is not installed
        """
        try:
            import pandas
        except ImportError:
            raise RunError("a DataFrame needs pandas, which is not installed.", "Use pip install pandas.") from None
        return pandas.DataFrame(list(self), columns=self.columns)


def as_html(text: str) -> str:
    """Return text for a notebook, in a fixed-width font."""
    return f'<pre style="white-space: pre; line-height: 1.3">{html.escape(text)}</pre>'


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
