"""Files called data.py, inference.py or gallery.py beside a user's work: they work, or one line names them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import data
import gallery
from gallery.errors import RunError
from gallery.runs.registry import model_class

pytestmark = pytest.mark.integration

ROOT = Path(gallery.__file__).parents[1]
MINE = """
from torch import nn

from data import NUMBER
from gallery.models.vae import VAE


class Mine(VAE):
    number = NUMBER
"""

EDITABLE = """
import importlib.util
import sys


class Finder:  # of an editable installation: comes after the folders of sys.path
    def find_spec(self, name, path=None, target=None):
        if name in ("data", "gallery", "inference"):
            return importlib.util.spec_from_file_location(name, ROOT + f"/{name}/__init__.py")


sys.path.remove(ROOT)
sys.meta_path.append(Finder())
import gallery
import data

print(data.load("digits:threshold", "train").x.shape)
"""


def python(*arguments, folder):
    """Run Python in a folder, as a user whose environment holds this project; return (exit code, output, errors)."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_the_module_and_the_command_work_beside_such_files(tmp_path):
    for name in ("data", "inference"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')\n")
    code, out, err = python("-m", "gallery", "list", folder=tmp_path)
    assert (code, err) == (0, "")
    assert "gmvae" in out
    (tmp_path / "gallery.py").write_text("raise SystemExit('imported')\n")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "gallery").write_text("from gallery.cli.main import main\n\nraise SystemExit(main())\n")
    code, out, err = python(bin_folder / "gallery", "list", folder=tmp_path)  # the script that pip writes
    assert (code, err) == (0, "")
    assert "gmvae" in out


def test_a_script_beside_a_data_py_ends_in_a_line_that_names_it(tmp_path):
    (tmp_path / "data.py").write_text("")
    code, _, err = python("-c", "import gallery", folder=tmp_path)
    assert code == 1
    last = err.splitlines()[-1]
    assert last.startswith(f"ImportError: {tmp_path / 'data.py'} hides the package 'data'")
    assert "Rename" in last


def test_a_folder_of_tables_called_data_hides_nothing(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "table.csv").write_text("1,2\n")
    (tmp_path / "script.py").write_text(EDITABLE.replace("ROOT", repr(str(ROOT))))
    code, out, err = python("script.py", folder=tmp_path)
    assert (code, err) == (0, "")
    assert out == "torch.Size([1200, 64])\n"


def test_a_model_file_imports_the_data_py_beside_it(tmp_path):
    ours = {name: sys.modules[name] for name in list(sys.modules) if name.partition(".")[0] == "data"}
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "data.py").write_text("NUMBER = 7\n")
    assert model_class(f"{tmp_path / 'mine.py'}:Mine").number == 7
    assert {name: sys.modules[name] for name in list(sys.modules) if name.partition(".")[0] == "data"} == ours
    other = tmp_path / "other"
    other.mkdir()
    (other / "data.py").write_text("")
    (other / "mine.py").write_text(MINE.replace("NUMBER", "Dataset"))  # means the package
    assert model_class(f"{other / 'mine.py'}:Mine").number is data.Dataset


def test_a_gallery_py_beside_a_model_file_is_named(tmp_path):
    (tmp_path / "gallery.py").write_text("NUMBER = 7\n")
    (tmp_path / "mine.py").write_text("from gallery import NUMBER\n")
    with pytest.raises(RunError, match=r"Rename gallery\.py beside it"):
        model_class(f"{tmp_path / 'mine.py'}:Mine")
