"""Models in files of users and of installed packages: fits, and faults in one line that names the file and line."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from broken import BROKEN, DATA, GOOD, INIT, PLATES, PRIOR, write

import gallery.runs.registry
from gallery.cli.main import main
from gallery.figures import draw

DIGITS = ("--data", "digits:threshold", "--epochs", 1, "--run", "run")

pytestmark = pytest.mark.usefixtures("no_figures")


WIDTH = "hidden: int = 8"
FAULTS = {
    "syntax": ("x = (\n", ["cannot be imported", "SyntaxError", "mine.py:1"]),
    "import": ("import nothing_of_that_name\n", ["cannot be imported", "nothing_of_that_name", "mine.py:1"]),
    "exit": ("raise SystemExit(3)\n", ["cannot be imported", "SystemExit", "mine.py:1"]),
    "no class": ("class Other:\n    pass\n", ["no class Skeleton", "Its classes: Other"]),
    "no module": ("class Skeleton:\n    pass\n", ["not a torch.nn.Module"]),
    "no guide": (GOOD.replace("def guide", "def guess"), ["no method guide"]),
    "no default": (GOOD.replace("data_dim: int = 64", "width: int, data_dim: int = 64"), ["width has no default"]),
    "no number": (GOOD.replace(WIDTH, f"{WIDTH}, act=print"), ["act is <built-in", "run.json"]),
    "no type": (GOOD.replace(WIDTH, 'hidden: "Width" = 8'), ["'Width' is not defined"]),
    "system": (GOOD.replace(INIT, f'{INIT}        raise OSError(5, "no device")\n'), ["no device", "mine.py:28"]),
    "full": (GOOD.replace(INIT, f'{INIT}        raise OSError(28, "no space")\n'), ["no space", "mine.py:28"]),
    "refusal": (GOOD.replace(INIT, f'{INIT}        raise ValueError("no\\nsuch")\n'), ["no such", "mine.py:28"]),
    "constructor": (GOOD.replace(INIT, ""), ["AttributeError", "mine.py:28: self.encoder"]),
    "model": (GOOD.replace("self.decoder(z)", "self.decoder(z, z)"), ["TypeError", "mine.py:37"]),
    "guide": (GOOD.replace("self.encoder(x)", "self.encoder(x.T)"), ["RuntimeError", "mine.py:42"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_users_file_is_one_line(refused, fault):
    text, words = FAULTS[fault]
    Path("mine.py").write_text(text)
    refused(["fit", "mine.py:Skeleton", *DIGITS], *words)


@pytest.mark.parametrize(
    ("fault", "command"), [("syntax", ["check"]), ("model", ["check"]), ("model", ["fit", *DIGITS])]
)
def test_debug_shows_where_it_came_from(capsys, fault, command):
    Path("mine.py").write_text(FAULTS[fault][0])
    assert main([command[0], "mine.py:Skeleton", *map(str, command[1:]), "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_run_knows_its_file_from_any_folder(run, tmp_path, monkeypatch):
    assert "data_dim" in run("show", write({}))[1]
    assert run("fit", "mine.py:Skeleton", *DIGITS)[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("evaluate", "../run", "--particles", 2)[0] == 0
    assert run("sample", "../run", "--n", 3, "--out", "drawn.npz")[0] == 0
    (tmp_path / "run" / "metrics.json").unlink()
    assert run("resume", "../run")[0] == 0
    (tmp_path / "mine.py").rename(tmp_path / "moved.py")
    code, _, err = run("evaluate", "../run")
    assert (code, err.count("\n")) == (2, 1)
    assert "mine.py" in err
    assert "run.json" in err


def beside(folder, number):
    """A model in a new folder, with a module and a package beside it which have the same names everywhere."""
    (folder / "package").mkdir(parents=True)
    (folder / "package" / "deep.py").write_text(f"NUMBER = {number}\n")
    (folder / "helper.py").write_text(
        "from package.deep import NUMBER\n\n\ndef fail():\n    raise ValueError(NUMBER)\n"
    )
    (folder / "mine.py").write_text(GOOD.replace("import pyro\n", "import pyro\nfrom helper import NUMBER, fail\n", 1))
    return f"{folder / 'mine.py'}:Skeleton"


@pytest.mark.integration
def test_a_file_imports_what_lies_beside_it_and_no_other_files(run, tmp_path, monkeypatch):
    path, first, second = list(sys.path), beside(tmp_path / "a", 1), beside(tmp_path / "b", 2)
    numbers = [
        gallery.runs.registry.model_class(name).__init__.__globals__["NUMBER"] for name in (first, second, first)
    ]
    assert numbers == [1, 2, 1]
    assert sys.path == path
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "mine.py").write_text("import helper\n")
    assert "No module named 'helper'" in run("check", tmp_path / "c" / "mine.py:Skeleton")[2]
    assert run("fit", first, *DIGITS)[0] == 0
    monkeypatch.chdir(tmp_path / "b")
    assert run("fit", "--from", tmp_path / "run" / "run.json", "--run", tmp_path / "again")[0] == 0
    few = ("--objectives", "trace", "--seeds", 2, "--jobs", 2, "--epochs", 1)
    code, out, err = run("compare", first, "--data", "digits:threshold", *few)  # in other processes
    assert (code, "failed" in out) == (0, False), out + err


def test_a_fault_beside_a_file_is_one_line_too(refused, tmp_path):
    name = beside(tmp_path / "a", "(")
    refused(["check", name], "SyntaxError", "helper.py:1")
    name = beside(tmp_path / "b", 2)
    text = (tmp_path / "b" / "mine.py").read_text()
    (tmp_path / "b" / "mine.py").write_text(text.replace(INIT, f"{INIT}        fail()\n"))
    refused(["fit", name, *DIGITS], "helper.py:5: raise ValueError(NUMBER)")


def test_annotations_may_be_words_and_may_be_missing(run, tmp_path):
    text = GOOD.replace("import pyro\n", "from __future__ import annotations\n\nimport pyro\n", 1)
    (tmp_path / "mine.py").write_text(text.replace("hidden: int = 8", "hidden=8, widths=(1, 2), on=True"))
    assert run("fit", "mine.py:Skeleton", *DIGITS, "--hidden", 4, "--widths", 3, "--no-on")[0] == 0
    assert '"hidden": 4' in (tmp_path / "run" / "run.json").read_text()


def test_installed_packages_add_models(run, refused, tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text(GOOD.replace('"""Skeleton', '"""A [/b] Skeleton', 1))
    (tmp_path / "torn.py").write_text("1 / 0\n")
    values = {"theirs": "theirs:Skeleton", "torn": "torn:Skeleton", "vae": "theirs:Skeleton"}
    points = [EntryPoint(name, value, "gallery.models") for name, value in values.items()]
    monkeypatch.setattr(gallery.runs.registry, "entry_points", lambda group: points)
    monkeypatch.syspath_prepend(tmp_path)
    code, out, err = run("list")
    assert code == 0
    assert "A [/b] Skeleton" in out
    assert "(theirs:Skeleton)" in out
    assert "Variational autoencoder" in out  # the gallery's names are the gallery's
    assert err.count("\n") == 1
    assert "torn" in err
    assert "ZeroDivisionError" in err
    refused(["fit", "torn", *DIGITS], "torn:Skeleton", "ZeroDivisionError")
    refused(["fit", "their", *DIGITS], "Did you mean 'theirs'?")
    assert run("check", "theirs")[0] == 0
    assert run("fit", "theirs", *DIGITS)[0] == 0
    del sys.modules["theirs"]


STRUCTURAL = [name for name, (clause, *_) in BROKEN.items() if clause in ("sites", "plate", "registered")]


@pytest.mark.parametrize("fault", STRUCTURAL)
def test_a_fit_does_not_begin_where_its_numbers_would_mean_nothing(refused, fault):
    clause, words, changes = BROKEN[fault]
    remedy = "poutine.scale" if "scale" in fault else "pyro.plate("
    refused(["fit", write(changes), *DIGITS], remedy if clause == "plate" else words[0])


def test_a_prior_of_another_width_than_the_guide_is_not_a_message_of_torch(refused):
    path = write({PRIOR: 'z = pyro.sample("z", dist.Normal(zero.repeat(1, 2), 1.0).to_event(1))'})
    refused(["fit", path, *DIGITS], "z has event shape", "in the guide and", "in the model", "widths of the networks")


def test_a_fit_does_not_begin_with_parameters_that_are_not_learnt(refused):
    path = write({'        pyro.module("encoder", self.encoder)\n': ""})
    refused(["fit", path, *DIGITS], "encoder.0.weight", "would not be learnt", "gallery check")


def test_a_picture_that_cannot_be_drawn_does_not_cost_the_fit(run, monkeypatch):
    monkeypatch.setattr("gallery.figures.draw", draw)
    changes = {PLATES[0]: f'        if not x.any():\n            raise ValueError("no counts")\n{PLATES[0]}'}
    with pytest.warns(UserWarning, match=r"figure \w+ is left out: .*no counts"):
        code, out, _ = run("fit", write(changes), *DIGITS)
    assert code == 0
    assert "  ELBO  " in out
    assert Path("run/metrics.json").exists()


def test_a_file_without_a_class_is_refused_with_the_names_of_its_classes(refused):
    path = write({}).partition(":")[0]
    refused(["fit", path, *DIGITS], "path/to/file.py:CLASS", "Its classes: Skeleton")


def test_events_of_steps_and_coordinates_must_be_flat(refused):
    folded = "dist.Bernoulli(logits=self.decoder(z).unflatten(1, (8, 8))).to_event(2), obs=x)"
    path = write({DATA: f'pyro.sample("x", {folded}'})
    refused(["fit", path, *DIGITS], "rows of shape (8, 8)", "Rows come flat")


def test_a_likelihood_of_another_width_is_named(refused):
    path = write({DATA: 'pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)[:, :9]).to_event(1), obs=x)'})
    refused(["fit", path, *DIGITS], "the likelihood of x", "rows of shape (9,)", "rows of shape (64,)", "the width of")


@pytest.mark.parametrize(
    ("likelihood", "words", "remedy"),
    [
        ("Poisson(self.decoder(z))", "rate of Poisson has values outside [0, inf)", "write softplus(...)"),
        ("Bernoulli(self.decoder(z))", "probs of Bernoulli has values outside [0, 1]", "write logits=..."),
        ("Bernoulli(logits=self.decoder(z).log())", "logits of Bernoulli has values that are NaN", "for a logarithm"),
    ],
)
def test_a_parameter_outside_its_bounds_is_met_with_what_to_do(refused, run, likelihood, words, remedy):
    path = write({DATA: f'pyro.sample("x", dist.{likelihood}.to_event(1), obs=x)'})
    said = [f"the parameter {words}", remedy, "dist.Bernoulli" if "Bern" in likelihood else "dist.Poisson"]
    refused(["fit", path, *DIGITS], *said)
    checked = "".join(run("check", path, "--data", "digits:threshold")[1:])
    assert all(part in checked for part in said)
