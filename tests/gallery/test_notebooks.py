"""The notebooks run from top to bottom, and open as notebooks."""

import runpy
from pathlib import Path

import pytest

from gallery.ledger.tables import README

NOTEBOOKS = sorted((README.parent / "gallery" / "notebooks").glob("*.py"))


def test_there_are_four():
    assert [path.stem for path in NOTEBOOKS] == ["comparing_inference", "first_fit", "own_data", "own_model"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_opens_as_a_notebook(path):
    jupytext = pytest.importorskip("jupytext", reason="pip install latent-gallery[notebooks]")
    cells = jupytext.read(path).cells
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    assert sum(cell.cell_type == "code" for cell in cells) >= 4
    assert "%matplotlib inline" in next(cell.source for cell in cells if cell.cell_type == "code").splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    runpy.run_path(str(path), run_name="__main__")
    assert "nats per" in capsys.readouterr().out
    assert [entry for entry in Path(tmp_path).iterdir() if entry.is_file()] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Jupyter about its connections
def test_a_kernel_shows_the_pictures():
    pytest.importorskip("ipykernel", reason="pip install latent-gallery[notebooks]")
    nbclient = pytest.importorskip("nbclient", reason="pip install latent-gallery[notebooks]")
    jupytext = pytest.importorskip("jupytext", reason="pip install latent-gallery[notebooks]")
    notebook = jupytext.read(README.parent / "gallery" / "notebooks" / "own_data.py")
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    shown = [cell for cell in notebook.cells if cell.source.startswith(("samples(", "reconstructions("))]
    assert len(shown) == 2
    assert all("image/png" in cell.outputs[0].data for cell in shown)
