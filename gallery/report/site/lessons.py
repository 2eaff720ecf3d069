"""The comparisons of the ledger, a section for each lesson: tables and pictures of what `gallery compare` wrote."""

import json
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from gallery.catalogue.lessons import LESSONS
from gallery.compare.report import tables
from gallery.report.site.pictures import Picture, hang


@dataclass(frozen=True)
class Compared:
    """One comparison of a lesson.

    :param tables: of numbers: "head", "rows", "caption"
    :param remarks: on what has no number
    """

    tables: list[dict]
    remarks: list[str]
    pictures: list[Picture]


def compared(name: str, kept: Path, site: Path) -> list[Compared]:
    """The comparisons of a lesson, one for each compare.json; none if it was not run.

    :param kept: the folder of the ledger
    """
    found = []
    for file in sorted((kept / "lessons" / name).rglob("compare.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        parts = list(tables(content))
        where = "-".join(file.parent.relative_to(kept).parts)
        of = f"{LESSONS[name].title}: {content['model']} on {content['data']}"
        found.append(
            Compared(
                [_cells(part) for part in parts if isinstance(part, Table)],
                [part for part in parts if isinstance(part, str)],
                hang(file.parent, site, where, of),
            )
        )
    return found


def _cells(table: Table) -> dict:
    """What a table for the terminal holds."""
    rows = zip(*(column.cells for column in table.columns), strict=True)
    return {"head": [column.header for column in table.columns], "rows": list(rows), "caption": table.caption}
