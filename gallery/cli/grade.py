"""`gallery grade`: run a student's notebook of the course, and say which exercises hold."""

from pathlib import Path

from gallery.course.source import LESSONS
from gallery.course.source import lesson as read_lesson
from gallery.errors import RunError

__all__ = ["grade"]


def grade(file: Path, /, *, lesson: int | None = None) -> int:
    """Run a notebook of the course, and check each exercise by its value: which holds, and what is wrong.

    The code in the file is executed. The exit code is 0 if all exercises hold, else 1.

    :param file: The student's notebook, or the same as a Python file.
    :param lesson: Number of the lesson [that in the title of the notebook].
    """
    from gallery.course import grade as course  # imports torch

    cells = course.read_cells(file)
    number = course.lesson_of(cells) if lesson is None else lesson
    if number is None:
        raise RunError(f"{file} has no title `# Lesson N`: which lesson is it of?", ("lesson", "N"))
    title = read_lesson(number).title
    answers = course.run_cells(cells, file)
    results = course.grade(answers, number)
    print(f"lesson {number} of {LESSONS[-1]}  {title}")
    for result in results:
        print(result)
    held = sum(result.verdict == "holds" for result in results)
    print(f"{held} of {len(results)} exercises hold")
    return 0 if held == len(results) else 1
