"""Answers to the exercises of the course: the solutions, without the cells that fit and draw."""

from functools import cache
from pathlib import Path

from gallery.course.grade import Answers, check_one, exercises_of, run_cells
from gallery.course.source import HOLE, lesson

__all__ = ["names", "solution", "states", "verdict"]


@cache
def solution(number: int) -> Answers:
    """The names that the imports and the solutions of a lesson define."""
    of_lesson = lesson(number)
    first = next(cell for cell in of_lesson.cells if cell.kind == "code")
    kept = [solved for cell, solved in zip(of_lesson.cells, of_lesson.solution(), strict=True)
            if cell is first or (cell.kind == "code" and HOLE.search(cell.source))]  # fmt: skip
    answers = run_cells(kept, Path("solution.py"))
    assert not answers.errors
    return answers


def verdict(number: int, exercise: int, **changed):
    """The verdict on an exercise when some answers of the solution are replaced."""
    answers = solution(number)
    check = exercises_of(number)[exercise]
    return check_one(exercise, check, Answers(answers.names | changed, {}, answers.file))


def names(number: int):
    """What the solutions of a lesson define, by name."""
    return solution(number).names


def states(number: int, *phrases: str) -> None:
    """Check that the text of a lesson has these phrases: a number that changes there has to change in its test."""
    text = " ".join(" ".join(it.source.split()) for it in lesson(number).cells if it.kind == "markdown")
    assert [phrase for phrase in phrases if phrase not in text] == []
