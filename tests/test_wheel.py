"""The wheel is small, contains the data files, and runs outside the repository."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gallery.figures.sources import RECORD

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[1]
PACKAGES = ("data", "gallery", "inference")
BACKEND = 77  # the least major version of setuptools in pyproject.toml


def has_backend():
    try:
        return int(importlib.metadata.version("setuptools").partition(".")[0]) >= BACKEND
    except importlib.metadata.PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build from a copy, so that no stale build folder of the repository is included."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    isolation = ["--no-build-isolation"] if has_backend() else []
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *isolation, "--wheel-dir", out, source]
    subprocess.run(command, check=True)
    (file,) = out.glob("*.whl")
    return file


def test_the_wheel_is_small_and_has_no_pictures(wheel):
    """Code, texts and weights have one limit; stored numbers, which grow with every seed, have another."""
    files = zipfile.ZipFile(wheel).infolist()
    numbers = sum(file.compress_size for file in files if file.filename.startswith("gallery/ledger/results/"))
    assert wheel.stat().st_size - numbers < 1_200_000  # of which the weights of explorers are 93 kB
    assert numbers < 250_000
    names = [file.filename for file in files]
    assert not [name for name in names if name.endswith((".png", ".gif", ".jpg", ".svg", RECORD))]
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)


def test_the_wheel_has_all_data_files(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    kinds = ("*.toml", "*.js", "*.j2", "*.css", "*.md", "*.json", "py.typed")
    files = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for kind in kinds
        for file in (ROOT / package).rglob(kind)
        if file.name != RECORD
    }
    assert {"gallery/catalogue/sources.md", "gallery/ledger/results/ledger.json", "data/py.typed"} <= files
    assert "gallery/report/site/style.css" in files
    files |= {str(file.relative_to(ROOT)) for file in (ROOT / "gallery" / "course" / "lessons").glob("*.py")}
    assert files <= names, sorted(files - names)


@pytest.mark.slow
def test_the_wheel_runs_outside_the_repository(wheel, tmp_path):
    target, folder = tmp_path / "target", tmp_path / "empty"
    folder.mkdir()
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel]
    subprocess.run(command, check=True)
    environment = os.environ | {"PYTHONPATH": str(target), "PYTHONSAFEPATH": "1"}

    def run(*words):
        return subprocess.run(
            [sys.executable, *words], cwd=folder, env=environment, check=True, capture_output=True, text=True
        ).stdout

    assert str(target) in run("-c", "import gallery; print(gallery.__file__)")
    run("-m", "gallery", "fit", "factor_analysis", "--epochs", "1")
    run("-m", "gallery", "site", "--out", "site")
    assert (folder / "site" / "index.html").exists()
    run("-m", "gallery", "demo")
    assert (folder / "demo" / "site" / "index.html").exists()
    assert list((folder / "runs").rglob("metrics.json"))
