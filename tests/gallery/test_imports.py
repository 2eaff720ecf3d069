"""What is imported by the packages and by commands that need no model, each in one process."""

import subprocess
import sys

import pytest

import gallery
import inference
from gallery.cli.main import COMMANDS, app
from gallery.models import MODELS, family_module, title

RUN = "import sys; from gallery.cli.main import main; code = main({!r})"
ENGINE = "import inference; from inference import *; from gallery import *"


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        (ENGINE, ("matplotlib", "sklearn", "scipy.stats", "torchvision", "torch._inductor", "torch._dynamo", "PIL")),
        ("import gallery, inference", ("torch", "pyro", "numpy")),
        (RUN.format(["list"]), ("torch", "pyro", "numpy", "data.dataset")),
        (RUN.format(["site", "--nope"]), ("torch", "pyro", "numpy", "data.dataset")),
    ],
    ids=["engine", "packages", "list", "refused flag"],
)
def test_what_is_not_needed_is_not_imported(code, absent):
    report = f"\nimport sys; print(sorted(set({absent!r}) & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_titles_are_those_of_the_docstrings():
    for name, cls in MODELS.items():
        text = (cls.__doc__ or "").partition(". ")[2] if ":" in name else (family_module(cls).__doc__ or "")
        assert title(name) == text.strip().partition("\n")[0] != ""


def test_the_help_of_a_command_is_its_first_line():
    for name, (_, line) in COMMANDS.items():
        command = app[name]
        text = command.help or command.default_command.__doc__
        assert text.strip().partition("\n")[0] == line


@pytest.mark.parametrize("package", [inference, gallery])
def test_every_public_name_is_found_on_first_use(package):
    assert set(package.__all__) <= set(dir(package))
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing
