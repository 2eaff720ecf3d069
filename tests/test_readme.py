"""README, RESULTS and BENCHMARKS: tables are generated, commands and snippets run as printed."""

import re
import shlex

import pytest
from PIL import Image

from gallery.catalogue.lessons import LESSONS
from gallery.cli.main import app, command_of, main
from gallery.figures.front import PICTURE, front
from gallery.figures.style import save
from gallery.ledger.tables import FILES, README, with_tables
from gallery.models import MODELS

TEXT = README.read_text()
LINES = [line.partition("#")[0].strip() for line in re.findall(r"^    (gallery \w.*)", TEXT, flags=re.MULTILINE)]
SHORT = ("list", "show", "fit", "evaluate", "sample", "export", "resume", "data", "summary")  # the others take minutes


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_tables_are_generated(file):
    text = file.read_text()
    assert "<!-- /" in text
    assert with_tables(text) == text


def test_every_model_has_a_row():
    rows = re.findall(r"^\| \[`(\w+)`\]\((.*?)\) \|(.*)\|$", TEXT, flags=re.MULTILINE)
    assert [name for name, *_ in rows] == [name for name in MODELS if ":" not in name]
    for _, path, cells in rows:
        assert (README.parent / path).exists()
        _, headline, _, scale, _ = (cell.strip() for cell in re.split(r"(?<!\\)\|", cells))
        assert (scale in ("log density", "log probability")) == headline.startswith("ELBO")


def test_readme_is_short_and_its_links_lead_somewhere():
    assert len(TEXT.splitlines()) < 200
    for file in FILES:
        for path in re.findall(r"\]\(([^)#]+)\)", file.read_text()):
            assert path.startswith("http") or (README.parent / path).exists(), path


def test_the_comparisons_are_counted():
    counts = dict(zip(("nine", "ten", "eleven", "twelve"), range(9, 13), strict=True))
    (first, second) = re.findall(rf"({'|'.join(counts)}) (?:prepared )?comparisons", TEXT)
    assert counts[first] == counts[second] == len(LESSONS)


def test_the_picture_is_small_and_drawn_by_its_script():
    assert (README.parent / "docs" / "front.png") == PICTURE
    assert PICTURE.stat().st_size < 150_000


@pytest.mark.slow
def test_the_picture_is_drawn_anew(tmp_path):
    drawn = save(front(), tmp_path / "front.png")
    with Image.open(drawn) as new, Image.open(PICTURE) as old:
        assert new.size == old.size


def test_python_runs_as_printed(capsys):
    snippets = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert len(snippets) >= 2
    names: dict = {}
    for snippet in snippets:  # one after the other, as they are read
        exec(compile(snippet, "README.md", "exec"), names)
    assert "nats per data point" in capsys.readouterr().out
    assert len(names["losses"]) == 5 * len(names["train"]) / 100
    assert names["losses"][-10:].mean() < names["losses"][:10].mean()


@pytest.mark.parametrize("command", sorted({line.split()[1] for line in LINES}))
def test_commands_exist(command, capsys):
    assert command in {name for name in app if not name.startswith("-")}
    assert main([command, "--help"]) == 0
    capsys.readouterr()


@pytest.mark.integration
def test_short_commands_run_as_printed(tmp_path, monkeypatch, capsys):
    """One after the other, but for the number of epochs and of draws; `resume` of a run that was cut short."""
    pytest.importorskip("onnxruntime", reason="pip install latent-gallery[onnx]")
    pytest.importorskip("arviz", reason="pip install latent-gallery[arviz]")
    monkeypatch.chdir(tmp_path)
    ran = []
    for line in LINES:
        line = re.sub(r" --epochs \d+", "", line)
        line = re.sub(r" --particles \d+", " --particles 4", line)
        command = shlex.split(line)[1:]
        if command[0] not in SHORT:
            continue
        if command[0] == "fit":
            command += ["--epochs", "1"]
        if command[0] == "resume":
            (tmp_path / command[1] / "metrics.json").unlink()
        assert main(command) == 0, (line, capsys.readouterr().err)
        ran.append(command[0])
    assert {"fit", "evaluate", "sample", "export", "resume"} <= set(ran)


@pytest.mark.parametrize("line", [line for line in LINES if line.split()[1] not in SHORT])
def test_long_commands_are_understood(line):
    _, *words = shlex.split(line)
    command, rest = command_of(words)
    command.parse_args(rest, exit_on_error=False, print_error=False)
