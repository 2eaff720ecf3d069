"""The public names of the three packages, from their signatures and docstrings.

A docstring is CommonMark with `:param name:`, `:return:` and `:raises Error:` fields at its end. An indented paragraph
is code, and so is one that begins with >>>.
"""

import ast
import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache
from itertools import pairwise
from types import ModuleType
from typing import Any

from markupsafe import Markup

import data
import gallery
import inference
from gallery.models import MODELS
from gallery.report.site.text import markdown

__all__ = ["Documented", "Package", "api", "document", "parse"]

PACKAGES = (inference, data, gallery)
FIELD = re.compile(r"^:(param|return|returns|raises)\s*([^:\n]*):", flags=re.MULTILINE)
WIDTH = 96  # characters of a signature in one line; a longer one has one line per parameter


@dataclass(frozen=True)
class Documented:
    """A public name.

    :param signature: source code; empty for a module
    :param summary: the first line of the docstring
    :param body: the docstring without its fields, as HTML
    :param fields: (heading, ((name, description as HTML), ...)) for parameters, the returned value and errors
    :param page: the page of a model of the gallery; empty for other names
    :param members: the public methods and properties of a class
    """

    name: str
    signature: str
    summary: str
    body: Markup
    fields: tuple[tuple[str, tuple[tuple[str, Markup], ...]], ...]
    page: str = ""
    members: tuple["Documented", ...] = ()


@dataclass(frozen=True)
class Package:
    """A package with its public names.

    :param about: its docstring as HTML
    """

    name: str
    about: Markup
    names: tuple[Documented, ...]


def api() -> list[Package]:
    """Return the three packages with the names of their `__all__`."""
    return [
        Package(
            package.__name__,
            _html(inspect.getdoc(package) or "", package.__name__),
            tuple(document(package, name) for name in package.__all__),
        )
        for package in PACKAGES
    ]


def document(package: ModuleType, name: str) -> Documented:
    """Return the signature and the docstring of a public name of a package.

    A class of `gallery.models` without a docstring has that of its file.
    """
    value = getattr(package, name)
    family = next((key.partition(":")[0] for key, model in MODELS.items() if model is value), "")
    if inspect.ismodule(value):
        return _documented(name, "", inspect.getdoc(value) or "", page="")
    if not callable(value):
        return _documented(name, _content(name, value), _attribute_docstring(package, name))
    text = inspect.cleandoc(value.__doc__ or "") if not _generated(value) else ""
    if not text and family:
        text = inspect.getdoc(sys.modules[value.__module__]) or ""
    members = _members(value) if inspect.isclass(value) else ()
    return _documented(name, _signature(name, value), text, f"{family}.html" if family else "", members)


def parse(text: str) -> tuple[str, dict[str, list[tuple[str, str]]]]:
    """Split a docstring into its text and its fields.

    :return: (text, fields); the fields "param", "return" and "raises" map to (name, description)
    """
    first = FIELD.search(text)
    body = text[: first.start()].strip() if first else text.strip()
    fields: dict[str, list[tuple[str, str]]] = {}
    matches = list(FIELD.finditer(text))
    for i, match in enumerate(matches):
        end = matches[i + 1].start() if i + 1 < len(matches) else len(text)
        kind = "return" if match[1] == "returns" else match[1]
        fields.setdefault(kind, []).append((match[2].strip(), inspect.cleandoc(text[match.end() : end]).strip()))
    return body, fields


def _documented(
    name: str, signature: str, text: str, page: str = "", members: tuple[Documented, ...] = ()
) -> Documented:
    body, fields = parse(text)
    headings = {"param": "Parameters", "return": "Returns", "raises": "Raises"}
    rows = tuple(
        (heading, tuple((key, _html(value, f"{heading} of {name}")) for key, value in fields[kind]))
        for kind, heading in headings.items()
        if kind in fields
    )
    summary = _summary(body)
    return Documented(name, signature, summary, _html(body, name), rows, page, members)


def _summary(body: str) -> str:
    """Return the first line of a docstring; its first paragraph where the sentence goes on after the line."""
    first, paragraph = body.partition("\n")[0], body.partition("\n\n")[0]
    return first if first.endswith((".", ":")) else " ".join(paragraph.split())


def _html(text: str, of: str) -> Markup:
    """Return a docstring as HTML. Doctest paragraphs are indented, so that they are code."""
    paragraphs = [
        re.sub("^", "    ", part, flags=re.MULTILINE) if part.startswith(">>>") else part
        for part in re.split(r"\n\s*\n", text)
    ]
    return markdown("\n\n".join(paragraphs), of)


def _signature(name: str, value: Any) -> str:
    """Return `name(parameters) -> type`, with the unqualified names of types."""
    try:
        signature = inspect.signature(value, eval_str=True)
    except NameError:  # an annotation that is imported for type checkers only
        signature = inspect.signature(value)
    except ValueError:
        return name
    parameters, shown = list(signature.parameters.values()), []
    for before, parameter in zip([None, *parameters], parameters, strict=False):
        variadic = before is not None and before.kind is inspect.Parameter.VAR_POSITIONAL
        keyword_only = before is None or before.kind is not inspect.Parameter.KEYWORD_ONLY
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and keyword_only and not variadic:
            shown.append("*")
        if parameter.name != "self":
            default = type(parameter.default)
            if is_dataclass(default) and parameter.default == default():
                shown.append(_plain(str(parameter).replace(repr(parameter.default), f"{default.__name__}()")))
            else:
                shown.append(_plain(str(parameter)))
    returned = signature.return_annotation
    end = ""
    if returned is not inspect.Signature.empty and not inspect.isclass(value):
        end = f" -> {_plain(inspect.formatannotation(returned))}"
    line = f"{name}({', '.join(shown)}){end}"
    if len(line) <= WIDTH:
        return line
    return f"{name}(\n" + "".join(f"    {parameter},\n" for parameter in shown) + f"){end}"


def _plain(text: str) -> str:
    """Remove module paths and addresses from the text of an annotation or a default."""
    text = re.sub(r"\s+at 0x[0-9a-f]+", "", text)
    text = re.sub(r"<(?:class|function) '?([\w.]+)'?>", r"\1", text)
    text = re.sub(r"\b(?:[A-Za-z_]\w*\.)+([A-Z]\w*)", r"\1", text)
    return re.sub(r"\bModule\b", "nn.Module", text)


def _content(name: str, value: Any) -> str:
    """Return `name: type`, with the keys of a mapping or a table of names."""
    keys = sorted(map(str, value)) if isinstance(value, Mapping | tuple | list | set | frozenset) else []
    line = f"{name}: {type(value).__name__}"
    return line + (f"  # {len(keys)} keys\n" + _wrapped(keys) if keys else "")


def _wrapped(words: list[str]) -> str:
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > WIDTH - 8:
            lines.append("")
        lines[-1] += f"{word}, "
    return "\n".join(f"    {line.rstrip()}" for line in lines).rstrip(",")


def _generated(value: Any) -> bool:
    """Return whether a dataclass has no docstring but the signature that Python generates."""
    return inspect.isclass(value) and (value.__doc__ or "").startswith(f"{value.__name__}(")


def _members(value: type) -> tuple[Documented, ...]:
    """Return the public methods and properties that a class defines with a docstring."""
    members = []
    for name, member in vars(value).items():
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        text = inspect.cleandoc(getattr(function, "__doc__", None) or "")
        if name.startswith("_") or not text:
            continue
        if inspect.isfunction(function):
            signature = _signature(name, getattr(value, name) if isinstance(member, classmethod) else function)
        elif isinstance(member, property) or type(member).__name__ == "cached_property":
            signature = name
        else:
            continue
        members.append(_documented(f"{value.__name__}.{name}", signature, text))
    return tuple(members)


def _attribute_docstring(module: ModuleType, name: str) -> str:
    """Return the string literal below the assignment of a name, in the module where it is assigned."""
    statements = _statements(module)
    for statement in statements:
        if isinstance(statement, ast.ImportFrom) and name in {alias.name for alias in statement.names}:
            return _attribute_docstring(sys.modules[statement.module or module.__name__], name)
    for statement, after in pairwise(statements):
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = after.value if isinstance(after, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                return inspect.cleandoc(value.value)
    return ""


@cache
def _statements(module: ModuleType) -> list[ast.stmt]:
    statements = ast.parse(inspect.getsource(module)).body  # those under `if TYPE_CHECKING` included
    return [
        inner
        for statement in statements
        for inner in (statement.body if isinstance(statement, ast.If) else [statement])
    ]
