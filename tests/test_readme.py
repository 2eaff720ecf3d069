"""What README shows is what is there."""

import re

import pytest

from gallery.cli import app, main
from gallery.tables import README, with_tables

TEXT = README.read_text()


def test_tables_are_generated():
    assert with_tables(TEXT) == TEXT


def test_python_runs_as_printed(capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    exec(compile(snippet, "README.md", "exec"), {})
    assert "nats per datum" in capsys.readouterr().out


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^    gallery (\w+)", TEXT, flags=re.MULTILINE))))
def test_commands_exist(command, capsys):
    assert command in {name for name in app if not name.startswith("-")}
    assert main([command, "--help"]) == 0
    capsys.readouterr()
