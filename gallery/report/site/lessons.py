"""The comparisons of the ledger, one section per lesson: tables and pictures that `gallery compare` wrote."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from gallery.catalogue.lessons import LESSONS
from gallery.comparison.report import tables
from gallery.report.site.pictures import Picture, copy_pictures

__all__ = ["Comparison", "comparisons_of"]


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
        content = json.loads(file.read_text(encoding="utf-8"))
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


def _cells(table: Table) -> dict[str, Any]:
    """Return head, rows and caption of a terminal table."""
    rows = zip(*(column.cells for column in table.columns), strict=True)
    return {"head": [column.header for column in table.columns], "rows": list(rows), "caption": table.caption}
