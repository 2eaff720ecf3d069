"""What a page says beside the code of a model: one file, `NAME.toml`, for each file of gallery/models.

    entry("vae").story      # ((LaTeX, words), ...): the generative process line by line, in the docstring's symbols
    entry("vae").bound      # the same of the objective: the whole first, then term by term

In words, $...$ is a formula and `...` a name. What a file says is checked when it is read: its keys, that neighbours
are entries, and that what it quotes of sources.md stands there, once.
"""

import re
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from gallery.catalogue.recipes import AUTOENCODERS, BERNOULLI, TUTORIAL, VARIATIONAL
from gallery.errors import RunError, unknown
from gallery.models import MODELS

FOLDER = Path(__file__).parent
NAMES = tuple(name for name in MODELS if ":" not in name)
LETTERS = {"[T]": TUTORIAL, "[L]": AUTOENCODERS, "[V]": VARIATIONAL, "[B]": BERNOULLI}
"""The sources that sources.md and the entries name by a letter; others are named in full."""

Lines = tuple[tuple[str, str], ...]
SetRows = tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Entry:
    """A model in words.

    :param story: (LaTeX, words) for every line of the generative process
    :param guide: the same of what stands for the posterior
    :param bound: the same of the objective that is fitted, and of its terms
    :param exercises: rows of "question" and "answer"
    :param neighbours: rows of "model", another entry, and "words": what leads there
    :param sources: rows of "source", "where" in it, and the "command" that shows it
    :param bibtex: the references
    :param wrong: parts of the statements in sources.md that concern the model
    """

    name: str
    story: Lines
    guide: Lines
    bound: Lines
    exercises: SetRows
    neighbours: SetRows
    sources: SetRows
    bibtex: str
    wrong: tuple[str, ...]

    def corrections(self) -> list[dict[str, str]]:
        """The rows of sources.md that concern the model."""
        return [row for part in self.wrong for row in corrections() if part in row["statement"]]


COLUMNS = {
    "exercises": {"question", "answer"},
    "neighbours": {"model", "words"},
    "sources": {"source", "where", "command"},
}


@cache
def entry(name: str) -> Entry:
    """The entry of a model.

    :raises RunError: if there is none, or its file says what is not so
    """
    if name not in NAMES:
        raise unknown("entry", name, NAMES)
    return read(FOLDER / f"{name}.toml")


def read(path: Path) -> Entry:
    """:raises RunError: if the file cannot be read as an entry, with what is wrong"""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return _checked(path.stem, content)
    except (OSError, ValueError, TypeError) as error:  # RunError is a ValueError
        raise RunError(f"{path.name}: {' '.join(str(error).split())}") from error


def _checked(name: str, content: dict) -> Entry:
    wanted = {field.name for field in fields(Entry)} - {"name"}
    if odd := wanted ^ content.keys():
        raise RunError(
            f"it has the keys {', '.join(sorted(wanted))}, and {', '.join(sorted(odd))} is missing or unknown."
        )
    for key in ("story", "guide", "bound"):
        if not all(isinstance(line, list) and [type(part) for part in line] == [str, str] for line in content[key]):
            raise RunError(f"{key} has lines of [LaTeX, words].")
        content[key] = tuple(map(tuple, content[key]))
    for key, columns in COLUMNS.items():
        if not all(isinstance(row, dict) and row.keys() == columns for row in content[key]):
            raise RunError(f"{key} has rows of {', '.join(sorted(columns))}.")
        content[key] = tuple(content[key])
    for row in content["neighbours"]:
        if row["model"] not in NAMES:
            raise unknown("neighbour", row["model"], NAMES)
    for part in content["wrong"]:
        if (count := sum(part in row["statement"] for row in corrections())) != 1:
            raise RunError(f"{part!r} stands in {count} statements of sources.md: quote a part of one.")
    return Entry(name, **content | {"wrong": tuple(content["wrong"])})


@cache
def corrections() -> tuple[dict[str, str], ...]:
    """The table of sources.md: "source", "statement", "so", "seen" of what the sources say and what is so."""
    lines = (FOLDER.parent / "sources.md").read_text(encoding="utf-8").splitlines()
    rows = [line.strip("| ") for line in lines if line.startswith("| [")]
    cells = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)] for row in rows]
    return tuple(dict(zip(("source", "statement", "so", "seen"), row, strict=True)) for row in cells)


def sources_map() -> list[dict[str, str]]:
    """What of each source is where: rows of "source", "where", "entry" and "command", source by source."""
    rows = [{"entry": name, **row} for name in NAMES for row in entry(name).sources]
    order = [*LETTERS, *dict.fromkeys(row["source"] for row in rows)]
    return sorted(rows, key=lambda row: order.index(row["source"]))
