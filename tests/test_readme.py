"""What README shows is what is there, and runs as printed."""

import re
import shlex

import pytest

from gallery.cli.main import app, command_of, main
from gallery.ledger.tables import README, with_tables

TEXT = README.read_text()
LINES = [line.partition("#")[0].strip() for line in re.findall(r"^    (gallery \w.*)", TEXT, flags=re.MULTILINE)]
SHORT = ("list", "show", "fit", "evaluate", "sample", "export", "resume", "data")  # the others take minutes


def test_tables_are_generated():
    assert with_tables(TEXT) == TEXT


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
