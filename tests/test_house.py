"""The layout of the code: no cycle of imports, and files of at most 300 lines."""

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("data", "inference", "gallery")
FILES = {path.relative_to(ROOT): path for name in (*PACKAGES, "tests") for path in sorted((ROOT / name).rglob("*.py"))}
MODULES = {
    ".".join(file.with_suffix("").parts).removesuffix(".__init__"): path
    for file, path in FILES.items()
    if file.parts[0] in PACKAGES
}
LONGEST = 300
LONGER = {"gallery/catalogue/recipes.py": "the list of all recipes"}


def imported(module: str) -> set[str]:
    """The modules of the project that a module imports when it is imported, without those for type checkers."""
    path, found = MODULES[module], set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in inside]
        found |= {name for name in names if name in MODULES}
    return found - {module}


def test_imports_have_no_cycle():
    graph = {module: imported(module) for module in MODULES}
    assert sum(map(len, graph.values())) > 1000
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(("lower", "higher"), [("data", "inference"), ("data", "gallery"), ("inference", "gallery")])
def test_packages_import_downwards(lower, higher):
    of_lower = {module: imported(module) for module in MODULES if module.partition(".")[0] == lower}
    assert {m: found for m, names in of_lower.items() if (found := {n for n in names if n.startswith(higher)})} == {}


def test_files_are_short():
    lines = {file.as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for file, path in FILES.items()}
    assert {file for file, count in lines.items() if count > LONGEST} == LONGER.keys()
