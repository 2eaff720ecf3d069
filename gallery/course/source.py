"""A lesson as cells: with its solutions, or with a hole for each exercise; as a notebook, or as a file.

A solution stands between two comments. In a function the student's version raises NotImplementedError in its place; at
the left margin it sets the last name that the solution sets to `...`.

    # exercise 2: the log of the sum
    return total.log()
    # end
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from gallery.errors import RunError

__all__ = ["LESSONS", "Cell", "Lesson", "cells_of", "lesson"]

LESSONS = range(1, 8)
HOLE = re.compile(r"^( *)# exercise (\d+): (.*)\n((?:.*\n)*?)\1# end$", flags=re.MULTILINE)
NAME = re.compile(r"(\w+) = ")


@dataclass(frozen=True)
class Cell:
    """A cell of a notebook.

    :param line: the number of its first line in the file
    """

    kind: Literal["markdown", "code"]
    source: str
    line: int = 1


def cells_of(text: str) -> list[Cell]:
    """Split a file in the percent format at its lines `# %%`; a file without any is one cell of code."""
    cells: list[Cell] = []
    marks = list(re.finditer(r"^# %%(.*)\n", text, flags=re.MULTILINE))
    if not marks:
        return [Cell("code", text)]
    for mark, end in zip(marks, [*(it.start() for it in marks[1:]), len(text)], strict=True):
        source, line = text[mark.end() : end], text.count("\n", 0, mark.end()) + 1
        if "[markdown]" in mark[1]:
            cells.append(Cell("markdown", re.sub(r"^# ?", "", source, flags=re.MULTILINE).strip(), line))
        else:
            cells.append(Cell("code", source.rstrip(), line))
    return cells


def _hole(match: re.Match[str]) -> str:
    indent, number, words, solution = match.groups()
    if indent:
        return f"{indent}raise NotImplementedError({json.dumps(f'exercise {number}: {words}', ensure_ascii=False)})"
    name = NAME.findall(solution)[-1]
    return f"{name} = ...  # exercise {number}: {words}"


def _solved(match: re.Match[str]) -> str:
    indent, number, words, solution = match.groups()
    return f"{indent}# exercise {number}: {words}\n{solution.rstrip()}"


@dataclass(frozen=True)
class Lesson:
    """A lesson of the course.

    :param cells: with the solutions and the marks around them
    """

    number: int
    cells: tuple[Cell, ...]

    @property
    def title(self) -> str:
        """The title, without the number of the lesson."""
        return self.cells[0].source.partition("\n")[0].removeprefix(f"# Lesson {self.number}: ")

    @property
    def lead(self) -> str:
        """The first paragraph."""
        return self.cells[0].source.split("\n\n")[1].replace("\n", " ")

    def _version(self, change: Callable[[re.Match[str]], str]) -> list[Cell]:
        return [
            replace(cell, source=HOLE.sub(change, cell.source)) if cell.kind == "code" else cell for cell in self.cells
        ]

    def student(self) -> list[Cell]:
        """Return the cells with a hole for each exercise."""
        return self._version(_hole)

    def solution(self) -> list[Cell]:
        """Return the cells with the solutions."""
        return self._version(_solved)

    def notebook(self, solved: bool = False) -> str:
        """Return the notebook as JSON, format 4.5, without outputs."""
        cells: list[dict[str, Any]] = []
        for i, cell in enumerate(self.solution() if solved else self.student()):
            source = re.sub(r"^# %(?=\w)", "%", cell.source, flags=re.MULTILINE)  # a magic of Jupyter
            entry = {"cell_type": cell.kind, "id": f"cell-{i}", "metadata": {}, "source": source.splitlines(True)}
            cells.append(entry | ({"execution_count": None, "outputs": []} if cell.kind == "code" else {}))
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


@cache
def lesson(number: int) -> Lesson:
    """Read a lesson.

    :raises RunError: if there is no such lesson
    """
    if number not in LESSONS:
        raise RunError(f"there is no lesson {number}: lesson must be from 1 to {LESSONS[-1]}.")
    file = files("gallery.course") / "lessons" / f"lesson_{number:02}.py"
    return Lesson(number, tuple(cells_of(file.read_text(encoding="utf-8"))))
