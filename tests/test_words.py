"""Names, docstrings, comments, messages, help and pages use the field's words: none of the words below occurs."""

import ast
import io
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BANNED = [
    "told",
    "tells?",
    "asked",
    "asks",
    "said",
    "speaks?",
    "judged?",
    "judges",
    "judging",
    "look",
    "glance",
    "nobody",
    "somebody",
    "datum",
    "sandwich",
    "so many",
    "of its own",
    "of their own",
    "one's own",
    "what is so",
    "by hand",
    "pixel laws?",
]
PATTERN = re.compile(rf"\b({'|'.join(BANNED)})\b", re.IGNORECASE)
FLAG = re.compile(r"(^|\s)--[a-z]")
TEXTS = (".md", ".toml", ".j2", ".cfg", ".yml", ".yaml", ".cff", ".js", ".css")
EXCEPTIONS: dict[tuple[str, str], str] = {  # (file, or folder with a final /, word): the reason
    ("tests/test_words.py", "*"): "the list itself",
    ("tests/", "*"): "tests quote inputs and are read by contributors alone",
    ("gallery/ledger/results/", "*"): "what was measured, with the names it was written under",
    ("CHANGELOG.md", "*"): "names the former names",
    ("gallery/catalogue/recipes.py", "sandwich"): "a key of the ledger",
    ("gallery/ledger/", "sandwich"): "a key of the ledger",
    ("gallery/ledger/", "judge"): "a key of the ledger, judge_accuracy",
    ("gallery/ledger/", "judged"): "a file of kept runs, judged.json",
    ("gallery/comparison/", "asked"): "a key of compare.json",
    ("gallery/figures/exact.py", "datum"): "part of the registry name exponential_gaussian:per_datum",
    ("gallery/report/export/arviz.py", "datum"): "a dimension of the NetCDF files",
}


def files() -> list[str]:
    listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    return [name for name in listed if (ROOT / name).is_file() and name.endswith((".py", *TEXTS))]


def words_of(python: str) -> list[tuple[int, str]]:
    """(line, text) of all comments, strings and names, a name split at its underscores."""
    tokens = list(tokenize.generate_tokens(io.StringIO(python).readline))
    kinds = (tokenize.COMMENT, tokenize.STRING)
    found = [(token.start[0], token.string) for token in tokens if token.type in kinds]
    return found + [(t.start[0], t.string.replace("_", " ")) for t in tokens if t.type == tokenize.NAME]


def occurrences(name: str) -> list[tuple[int, str]]:
    """(line, word) of every banned word in a file that is not excepted."""
    text = (ROOT / name).read_text(encoding="utf-8")
    parts = words_of(text) if name.endswith(".py") else list(enumerate(text.splitlines(), 1))
    found = [(line, match.group().lower()) for line, part in parts for match in PATTERN.finditer(part)]
    excepted = {word for file, word in EXCEPTIONS if name == file or (file.endswith("/") and name.startswith(file))}
    return [(line, word) for line, word in found if "*" not in excepted and word not in excepted]


def test_the_words_are_the_fields():
    found = [f"{name}:{line}: {word}" for name in files() for line, word in occurrences(name)]
    assert not found, "\n".join(found)


def test_no_docstring_is_a_question():
    found = []
    for name in files():
        if not name.endswith(".py") or name.startswith("tests/"):
            continue
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                first = (ast.get_docstring(node) or "").split("\n\n")[0].strip()
                if first.endswith("?"):
                    found.append(f"{name}:{getattr(node, 'lineno', 1)}: {first}")
    assert not found, "\n".join(found)


def is_flag(text: str) -> bool:
    return bool(FLAG.search(text)) and "torchrun" not in text


def test_the_engine_writes_no_flags():
    """No string of inference or data names a --flag."""
    found = []
    for name in files():
        if not name.startswith(("inference/", "data/")) or not name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and is_flag(node.value):
                found.append(f"{name}:{node.lineno}: {node.value[:80]}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("text", ["# it is told here", 'x = "a look"', "def judged_by(): ...", '"""So many data."""'])
def test_a_banned_word_is_seen(text):
    assert any(PATTERN.search(part) for _, part in words_of(text))
