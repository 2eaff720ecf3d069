"""The comparisons of the ledger, one section per lesson: tables and pictures that `gallery compare` wrote."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from rich.table import Table

from gallery.catalogue.lessons import LESSONS
from gallery.comparison.report import tables
from gallery.figures.lesson import lesson
from gallery.figures.style import save
from gallery.report.site.pictures import Picture, copy_pictures
from gallery.report.site.text import sentence

__all__ = ["Comparison", "comparisons_of", "figure_of"]


@dataclass(frozen=True)
class Comparison:
    """A comparison of a lesson.

    :param tables: tables of numbers: "head", "rows", "caption"
    :param remarks: the reasons why numbers are undefined
    """

    tables: list[dict[str, Any]]
    remarks: list[str]
    pictures: list[Picture]


def comparisons_of(name: str, ledger: Path, site: Path) -> list[Comparison]:
    """Return the comparisons of a lesson, one per compare.json, and copy their pictures to the site.

    :param ledger: the folder of the ledger
    """
    comparisons = []
    for file in sorted((ledger / "lessons" / name).rglob("compare.json")):
        content = _in_words(json.loads(file.read_text(encoding="utf-8")), LESSONS[name].names)
        parts = list(tables(content))
        where = "-".join(file.parent.relative_to(ledger).parts)
        of = f"{LESSONS[name].title}: {content['model']} on {content['data']}"
        comparisons.append(
            Comparison(
                [_cells(part) for part in parts if isinstance(part, Table)],
                [part for part in parts if isinstance(part, str)],
                copy_pictures(file.parent, site, where, of),
            )
        )
    return comparisons


def figure_of(name: str, ledger: Path, site: Path) -> Picture | None:
    """Draw the figure of a lesson into the site; None if the lesson was not run.

    :param ledger: the folder of the ledger
    """
    chosen, files = LESSONS[name], sorted((ledger / "lessons" / name).rglob("compare.json"))
    if not files:
        return None
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    src = f"pictures/lesson-{name}.png"
    path = save(lesson(results, chosen.shown, chosen.names), site / src)
    with Image.open(path) as image:
        width, height = image.size
    caption = sentence(f"{' and '.join(chosen.shown.values())}; a dot for each seed")
    return Picture(src, caption, f"{chosen.title} {chosen.answer} {caption}", width, height)


def _in_words(content: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Return the content of compare.json with the labels of its rows in words."""
    rows = [row | {"label": names.get(row["label"], row["label"])} for row in content["rows"]]
    return content | {"rows": rows}


def _cells(table: Table) -> dict[str, Any]:
    """Return head, rows and caption of a terminal table."""
    rows = zip(*(column.cells for column in table.columns), strict=True)
    return {"head": [column.header for column in table.columns], "rows": list(rows), "caption": table.caption}
