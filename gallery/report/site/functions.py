"""The functions `model` and `guide` of a class, and its methods that they call, cut out of its files and folded to 80
columns."""

import ast
import inspect
import io
import textwrap
import tokenize
from itertools import pairwise

from torch import nn

from gallery.models import MODELS

__all__ = ["COLUMNS", "fold", "model_and_guide"]

COLUMNS = 80


def model_and_guide(name: str) -> str:
    """Return the source of `model` and `guide` of a registered model, and then of the methods that they call.

    Methods are those of the model, at whatever depth, and not those of `nn.Module`. The indentation of the class is
    removed, and long lines of docstrings are wrapped.
    """
    cls, sources = MODELS[name], dict[str, str]()
    waiting = ["model", "guide"]
    while waiting:
        part = waiting.pop(0)
        sources[part] = textwrap.dedent(inspect.getsource(getattr(cls, part)))
        called = [node.func for node in ast.walk(ast.parse(sources[part])) if isinstance(node, ast.Call)]
        names = [f.attr for f in called if isinstance(f, ast.Attribute) and ast.unparse(f.value) == "self"]
        waiting += [n for n in dict.fromkeys(names) if _is_method(cls, n) and n not in sources and n not in waiting]
    return "\n".join(fold(_wrapped(source)) for source in sources.values())


def _wrapped(function: str) -> str:
    """Wrap the lines of the docstring of a function."""
    (definition,) = ast.parse(function).body
    assert isinstance(definition, ast.FunctionDef)
    first = definition.body[0]
    spans = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = range(first.lineno, (first.end_lineno or 0) + 1) if spans else ()
    lines = []
    for number, line in enumerate(function.splitlines(), 1):
        indent = line[: len(line) - len(line.lstrip())]
        fits = number not in docstring or len(line) <= COLUMNS
        lines += [line] if fits else textwrap.wrap(line, COLUMNS, subsequent_indent=indent, break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def _is_method(cls: type, name: str) -> bool:
    return inspect.isfunction(getattr(cls, name, None)) and not hasattr(nn.Module, name)


def fold(source: str) -> str:
    """Fold the lines of Python source that are longer than COLUMNS. The syntax tree is unchanged.

    A comment behind a long line is moved to its end, or above it. A line is folded at its longest bracket, and then at
    its commas.
    """
    strings = _inside_strings(source)
    lines = (
        part
        for number, line in enumerate(source.splitlines(), 1)
        for part in ([line] if number in strings else _folded(line))
    )
    return "\n".join(lines) + "\n"


def _inside_strings(source: str) -> set[int]:
    """Return the numbers of the lines that a string of several lines covers."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    spans = (range(t.start[0], t.end[0] + 1) for t in tokens if t.type == tokenize.STRING and t.end[0] > t.start[0])
    return {line for span in spans for line in span}


def _folded(line: str) -> list[str]:
    """Fold one line."""
    indent = line[: len(line) - len(line.lstrip())]
    if len(line) <= COLUMNS:
        return [line]
    if line.lstrip().startswith("#"):
        width = COLUMNS - len(indent) - 2
        return [f"{indent}# {part}" for part in textwrap.wrap(line.strip().removeprefix("#").strip(), width)]
    brackets, commas, comment = _structure(line)
    if comment is not None:
        folded, behind = _folded(line[:comment].rstrip()), f"  {line[comment:]}"
        if len(folded[-1] + behind) <= COLUMNS:
            return [*folded[:-1], folded[-1] + behind]
        return _folded(indent + line[comment:]) + folded
    if not brackets:
        return [line]
    start, end = max(brackets, key=lambda pair: pair[1] - pair[0])
    inner = indent + "    "
    body = inner + line[start + 1 : end].strip()
    if len(body) > COLUMNS:
        cuts = [start, *commas.get(start, []), end]
        parts = [line[a + 1 : b].strip() for a, b in pairwise(cuts)]
        rows = [f"{inner}{part}," for part in parts if part]
        trailing = len(rows) > 1 and " for " not in rows[-1] and "*" not in rows[-1]
        rows[-1] = rows[-1] if trailing else rows[-1].removesuffix(",")
        return [line[: start + 1], *(part for row in rows for part in _folded(row)), indent + line[end:]]
    return [line[: start + 1], body, indent + line[end:]]


def _structure(line: str) -> tuple[list[tuple[int, int]], dict[int, list[int]], int | None]:
    """Return the pairs of brackets of a line, the commas directly inside each, and the start of its comment.

    The commas between the parameters of a lambda are not among them.
    """
    opened: list[int] = []
    lambdas: list[int] = []  # by depth of brackets: lambdas whose parameters have not ended
    brackets: list[tuple[int, int]] = []
    commas: dict[int, list[int]] = {}
    comment = None
    try:
        for token in tokenize.generate_tokens(io.StringIO(line.strip()).readline):
            at = token.start[1] + len(line) - len(line.lstrip())
            if token.type == tokenize.COMMENT:
                comment = at
            elif token.string in ("(", "[", "{"):
                opened.append(at)
            elif token.string in (")", "]", "}") and opened:
                brackets.append((opened.pop(), at))
            elif token.string == "lambda":
                lambdas.append(len(opened))
            elif token.string == ":" and lambdas and lambdas[-1] == len(opened):
                lambdas.pop()
            elif token.string == "," and opened and len(opened) not in lambdas:
                commas.setdefault(opened[-1], []).append(at)
    except tokenize.TokenError:  # a line of a longer statement
        pass
    return brackets, commas, comment
