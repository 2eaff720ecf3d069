"""Run a student's file or notebook statement by statement, and check its answers.

A statement that raises does not stop the others, so an error in one exercise does not hide the next. What a file prints
and draws is discarded.
"""

import ast
import importlib
import inspect
import io
import json
import os
import re
import traceback
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from gallery.course.compare import WrongError
from gallery.course.source import Cell, cells_of, lesson
from gallery.errors import RunError
from inference.contract import watched
from inference.pairs.run import param_scope

__all__ = ["Answers", "Result", "check_one", "exercises_of", "grade", "lesson_of", "read_cells", "run_cells"]


@dataclass(frozen=True)
class Result:
    """The verdict on an exercise.

    :param title: of the exercise
    :param words: what is wrong, or which hole is left
    """

    number: int
    title: str
    verdict: Literal["holds", "wrong", "open"]
    words: str = ""

    def __str__(self) -> str:
        return f"exercise {self.number}  {self.verdict}: {self.words or self.title}"


@dataclass
class Answers:
    """The names that a file defines, and why others are missing.

    :param names: by name
    :param errors: by the name that a statement would have set: the error
    :param file: what its lines are called in a traceback
    :param raised: the errors of all its statements
    """

    names: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    file: str = "<answers>"
    raised: list[str] = field(default_factory=list)


def exercises_of(number: int) -> dict[int, Callable[..., None]]:
    """Return the checks of a lesson by the number of the exercise; the parameters of a check are the answers it takes.

    The first line of its docstring is the title of the exercise.
    """
    lesson(number)
    module = importlib.import_module(f"gallery.course.checks.lesson_{number:02}")
    return {int(name[9:]): check for name, check in sorted(vars(module).items()) if name.startswith("exercise_")}


def read_cells(path: Path) -> list[Cell]:
    """Read a Python file or a notebook.

    :raises RunError: if it is missing or is neither
    """
    if not path.is_file():
        raise RunError(f"there is no file {path}.", "Give the path of a .py file or of a notebook.")
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".ipynb":
            if path.suffix != ".py":
                raise RunError(f"{path} must end in .py or .ipynb.")
            return cells_of(text)
        cells = []
        for entry in json.loads(text)["cells"]:
            source = "".join(entry["source"])
            kind = entry["cell_type"]
            if kind == "code":
                source = re.sub(r"^(?=[%!])", "# ", source, flags=re.MULTILINE)
            cells.append(Cell("code" if kind == "code" else "markdown", source))
        return cells
    except (UnicodeDecodeError, KeyError, TypeError, json.JSONDecodeError):
        raise RunError(f"{path} is not readable as a {path.suffix} file.", "Save it again as a notebook.") from None


def lesson_of(cells: list[Cell]) -> int | None:
    """Return the number of the lesson in the title of a notebook, None if it has no such title."""
    for cell in cells:
        if found := re.search(r"^(?:# )?# Lesson (\d+)\b", cell.source, flags=re.MULTILINE):
            return int(found[1])
    return None


def _names_set(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    return [it.id for it in ast.walk(node) if isinstance(it, ast.Name) and isinstance(it.ctx, ast.Store)]


def run_cells(cells: list[Cell], path: Path, quiet: bool = True) -> Answers:
    """Run all statements of all cells of code; those that raise are skipped.

    :param path: the file they are of, for its name in messages
    :param quiet: whether output is discarded
    """
    answers = Answers({"__name__": "__main__", "__file__": str(path)}, {}, str(path))
    os.environ.setdefault("MPLBACKEND", "Agg")
    sink, notebook = io.StringIO(), path.suffix == ".ipynb"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, cell in enumerate(cells):
            if cell.kind != "code":
                continue
            first, where = (0, f"cell {i + 1}, line") if notebook else (cell.line - 1, "line")
            try:
                tree = ast.parse(cell.source)
            except (SyntaxError, ValueError, RecursionError) as error:  # ValueError: null bytes
                line = f"{where} {first + (getattr(error, 'lineno', None) or 1)}: {getattr(error, 'msg', error)}"
                answers.raised.append(line)
                for name in re.findall(r"^(?:def |class )?(\w+)(?= = |\(|:)", cell.source, flags=re.MULTILINE):
                    answers.errors[name] = line
                continue
            for node in tree.body:
                ast.increment_lineno(node, first)
                try:
                    code = compile(ast.Module([node], []), f"{path}{f' cell {i + 1}' if notebook else ''}", "exec")
                    if quiet:
                        with redirect_stdout(sink), redirect_stderr(sink):
                            exec(code, answers.names)
                    else:
                        exec(code, answers.names)
                except (Exception, SystemExit) as error:  # any error of the student's code
                    line = f"{where} {node.lineno}: {_described(error)}"
                    answers.raised.append(line)
                    answers.errors |= dict.fromkeys(_names_set(node), line)
            sink.seek(0)
            sink.truncate()
    return answers


def _text(error: BaseException) -> str:
    try:
        return " ".join(str(error).split())
    except Exception:  # of the __str__ of a student's class
        return ""


def _described(error: BaseException) -> str:
    text = _text(error)
    text = text if len(text) <= 200 else f"{text[:200]} ..."
    return text if isinstance(error, NotImplementedError) else f"{type(error).__name__}: {text}".rstrip(": ")


def _line_in(error: BaseException, file: str) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(file)]
    if not frames:
        return ""
    cell = frames[-1].filename.removeprefix(file).strip()
    return f" ({f'{cell}, ' if cell else ''}line {frames[-1].lineno})"


def check_one(number: int, check: Callable[..., None], answers: Answers) -> Result:
    """Check the answers of one exercise."""
    title = (inspect.getdoc(check) or "").partition("\n")[0].rstrip(".")
    given = []
    for name in inspect.signature(check).parameters:
        if name not in answers.names:
            why = answers.errors.get(name)
            words = f"{name} is not defined{f' ({why})' if why else ''}"
            return Result(number, title, "open" if why is None or "exercise " in why else "wrong", words)
        if answers.names[name] is ...:
            return Result(number, title, "open", f"{name} is `...`; {title}")
        given.append(answers.names[name])
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(), param_scope():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                check(*given)
    except WrongError as error:
        return Result(number, title, "wrong", " ".join(str(error).split()))
    except (Exception, SystemExit) as error:  # any error of the student's code
        cause = _innermost(error)
        if isinstance(cause, NotImplementedError) and _text(cause).startswith("exercise "):
            if _text(cause).startswith(f"exercise {number}:"):
                return Result(number, title, "open", f"a hole is left{_line_in(cause, answers.file)}; {title}")
            return Result(number, title, "open", f"it needs {_text(cause).partition(':')[0]}, which is open")
        place = _line_in(cause, answers.file) or _line_in(error, answers.file)
        return Result(number, title, "wrong", f"the answer raises {_described(cause)}{place}")
    return Result(number, title, "holds")


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return error


def grade(answers: Answers | dict[str, Any], number: int) -> list[Result]:
    """Check the answers to all exercises of a lesson.

    >>> from gallery.course.grade import grade
    >>> print(grade({"posterior": lambda counts: 1 + counts}, 1)[1])
    exercise 2  holds: The posterior of the die

    :param answers: what a file defines, or the answers by name
    """
    answers = answers if isinstance(answers, Answers) else Answers(answers)
    left: dict[str, Any] = {}
    results = []
    for n, check in exercises_of(number).items():
        with watched(left):
            results.append(check_one(n, check, answers))
    return results
