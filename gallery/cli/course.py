"""`gallery lesson` and `gallery grade`: write a notebook of the course, and say which of its exercises hold."""

from pathlib import Path

from gallery.course.source import LESSONS
from gallery.course.source import lesson as read_lesson
from gallery.errors import RunError
from inference.files import write_atomically

__all__ = ["grade", "lesson"]


def lesson(number: int, /, *, solution: bool = False, out: Path | None = None, overwrite: bool = False) -> None:
    """Write the notebook of a lesson of the course, with holes for the exercises.

    :param number: Number of the lesson, from 1 to 10.
    :param solution: Write it with the solutions.
    :param out: The file [lesson-NUMBER.ipynb, or lesson-NUMBER-solution.ipynb].
    :param overwrite: Replace a file of that name.
    """
    content = read_lesson(number)
    path = out or Path(f"lesson-{number}{'-solution' if solution else ''}.ipynb")
    if path.suffix != ".ipynb":
        raise RunError(f"{path} must end in .ipynb.")
    if path.exists() and not overwrite:
        raise RunError(f"{path} exists, perhaps with answers.", ("overwrite", "True"))
    write_atomically(path, content.notebook(solved=solution).encode())
    print(f"{path}: {content.title}")
    if not solution:
        print(f"next  open {path} in Jupyter or an editor, then  gallery grade {path}")


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
