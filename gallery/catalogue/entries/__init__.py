"""The text of the model pages: one file, `NAME.toml`, for each file of gallery/models.

    entry("vae").story      # ((LaTeX, text), ...): the generative process line by line, in the docstring's symbols
    entry("vae").bound      # the objective in the same form: as a whole, then term by term

In a text, $...$ is a formula and `...` a name. A file is validated when it is read: its keys, that neighbours are
entries, and that each quotation from sources.md occurs in exactly one statement there.
"""

import re
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from gallery.catalogue.recipes import AUTOENCODERS, BERNOULLI, TUTORIAL, VARIATIONAL
from gallery.errors import RunError, unknown
from gallery.models import MODELS

__all__ = ["FOLDER", "LETTERS", "NAMES", "Entry", "corrections", "entry", "read", "sources_map"]

FOLDER = Path(__file__).parent
NAMES = tuple(name for name in MODELS if ":" not in name)
LETTERS = {"[T]": TUTORIAL, "[L]": AUTOENCODERS, "[V]": VARIATIONAL, "[B]": BERNOULLI}
"""The sources that sources.md and the entries cite by a letter. Others are named in full."""

Lines = tuple[tuple[str, str], ...]
Rows = tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Entry:
    """The description of a model.

    :param intro: three to five sentences: the problem, what is hidden, what to notice
    :param mistakes: common mistakes with this model, one sentence each
    :param story: (LaTeX, text) for every line of the generative process
    :param guide: (LaTeX, text) for every line of the guide
    :param bound: (LaTeX, text) for the objective and its terms
    :param exercises: rows of "question" and "answer"
    :param neighbours: rows of "model" (another entry) and "words" (how the two are related)
    :param sources: rows of "source", "where" (the place in it) and "command" (which shows it)
    :param bibtex: the references
    :param wrong: quotations that identify the statements of sources.md on the model
    """

    name: str
    intro: str
    mistakes: tuple[str, ...]
    story: Lines
    guide: Lines
    bound: Lines
    exercises: Rows
    neighbours: Rows
    sources: Rows
    bibtex: str
    wrong: tuple[str, ...]

    def corrections(self) -> list[dict[str, str]]:
        """Return the rows of sources.md on the model."""
        return [row for part in self.wrong for row in corrections() if part in row["statement"]]


COLUMNS = {
    "exercises": {"question", "answer"},
    "neighbours": {"model", "words"},
    "sources": {"source", "where", "command"},
}


@cache
def entry(name: str) -> Entry:
    """Return the entry of a model.

    :raises RunError: if there is none, or its file is invalid
    """
    if name not in NAMES:
        raise unknown("entry", name, NAMES)
    return read(FOLDER / f"{name}.toml")


def read(path: Path) -> Entry:
    """Read and validate the file of an entry.

    :raises RunError: if it is no valid entry; the message names the file and the error
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return _checked(path.stem, content)
    except (OSError, ValueError, TypeError) as error:  # RunError is a ValueError
        raise RunError(f"{path.name}: {' '.join(str(error).split())}") from error


def _checked(name: str, content: dict[str, Any]) -> Entry:
    wanted = {field.name for field in fields(Entry)} - {"name"}
    if odd := wanted ^ content.keys():
        raise RunError(
            f"the keys {', '.join(sorted(odd))} are missing or unknown; expected {', '.join(sorted(wanted))}."
        )
    for key in ("story", "guide", "bound"):
        if not all(isinstance(line, list) and [type(part) for part in line] == [str, str] for line in content[key]):
            raise RunError(f"{key} has a line of another form; expected [LaTeX, text].")
        content[key] = tuple(map(tuple, content[key]))
    if not (content["mistakes"] and all(isinstance(line, str) for line in content["mistakes"])):
        raise RunError("mistakes is no list of sentences.")
    for key, columns in COLUMNS.items():
        if not all(isinstance(row, dict) and row.keys() == columns for row in content[key]):
            raise RunError(f"{key} has a row with other keys; expected {', '.join(sorted(columns))}.")
        content[key] = tuple(content[key])
    for row in content["neighbours"]:
        if row["model"] not in NAMES:
            raise unknown("neighbour", row["model"], NAMES)
    for part in content["wrong"]:
        if (count := sum(part in row["statement"] for row in corrections())) != 1:
            raise RunError(f"{part!r} occurs in {count} statements of sources.md; quote a part of exactly one.")
    return Entry(name, **content | {"wrong": tuple(content["wrong"]), "mistakes": tuple(content["mistakes"])})


@cache
def corrections() -> tuple[dict[str, str], ...]:
    """Return the table of sources.md: rows of "source", "statement", "correction" and "shown_in"."""
    lines = (FOLDER.parent / "sources.md").read_text(encoding="utf-8").splitlines()
    rows = [line.strip("| ") for line in lines if line.startswith("| [")]
    cells = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)] for row in rows]
    return tuple(dict(zip(("source", "statement", "correction", "shown_in"), row, strict=True)) for row in cells)


def sources_map() -> list[dict[str, str]]:
    """Return the entries by source: rows of "source", "where", "entry" and "command", in the order of the sources."""
    rows = [{"entry": name, **row} for name in NAMES for row in entry(name).sources]
    order = [*LETTERS, *dict.fromkeys(row["source"] for row in rows)]
    return sorted(rows, key=lambda row: order.index(row["source"]))
