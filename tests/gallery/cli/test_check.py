"""`gallery check`, `gallery new`, models of one's own: each fault is named by its clause, and none is a traceback."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pyro
import pytest
import torch
from broken import BROKEN, DATA, DISCRETE, DRAW, GOOD, INIT, LAST, PLATES, write

import gallery.runs.registry
from gallery.cli.check import examine
from gallery.cli.main import main
from gallery.figures import draw
from inference.contract import CLAUSES

DIGITS = ("--data", "digits:threshold", "--epochs", 1, "--run", "run")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every command runs in an empty folder, with no data set but the embedded ones, and draws no figures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GALLERY_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("gallery.figures.draw", lambda *_, **__: [])


@pytest.fixture
def run(capsys):
    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return run


@pytest.fixture
def refused(run, tmp_path):
    """refused(arguments, words): exit code 2, one line with these words, and no folder of a run."""

    def refused(arguments, *words):
        code, _, err = run(*arguments)
        assert code == 2
        assert err.count("\n") == 1, err
        for word in words:
            assert word in err
        assert not (tmp_path / "run").exists()

    return refused


@pytest.mark.parametrize("fault", BROKEN)
def test_each_fault_is_named_by_its_clause(run, fault):
    clauses, words, changes = BROKEN[fault]
    code, out, err = run("check", write(changes))
    assert code == 2
    assert err.count("\n") == 1
    assert f"of the contract: {clauses}." in err, out
    for word in words:
        assert word in out[out.index("\nbroken") :]


def test_grey_pixels_under_a_bernoulli(run):
    code, out, err = run("check", write({}), "--data", "digits:grey")
    assert code == 2
    assert "of the contract: support." in err
    assert "Bernoulli needs values in {0, 1}" in out


def test_what_was_changed_in_the_process_is_put_back(run):
    for fault in ("another default dtype", "no gradients any more", "a parameter in the store"):
        run("check", write(BROKEN[fault][2]))
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert not list(pyro.get_param_store().keys())


@pytest.mark.parametrize(
    "changes",
    [
        {DRAW: DRAW.replace("F.softplus(pre_scale)", "self.decoder[0].weight.detach().norm(dim=0)")},
        {
            LAST: f"        self.known = nn.Linear(data_dim, latent_dim).requires_grad_(False)\n{LAST}",
            DRAW: DRAW.replace("pre_scale", "self.known(x)"),
        },
        {DATA: f'{DATA}\n            pyro.deterministic("mean", self.decoder(z).detach(), event_dim=1)'},
    ],
    ids=["borrowed", "frozen", "shown"],
)
def test_what_is_fixed_on_purpose_passes(run, changes):
    code, out, _ = run("check", write(changes))
    assert code == 0, out


def test_a_branch_on_values_is_a_remark(run):
    code, out, _ = run("check", write({PLATES[0]: f"        if x.sum() > -1:\n            pass\n{PLATES[0]}"}))
    assert code == 0
    assert "broken" not in out
    assert out.count("remark") == 2
    assert "mine.py:34: if x.sum() > -1:" in out


def test_a_discrete_latent_may_be_scored_or_summed_out(run):
    assert run("check", write(DISCRETE), "--objective", "score")[0] == 0
    mark = '), infer={"enumerate": "parallel"}'
    marked = {old: new.replace("0.5)", f"0.5{mark}").replace("0])", f"0]{mark}") for old, new in DISCRETE.items()}
    code, out, _ = run("check", write(marked, "marked.py"))
    assert code == 0, out
    code, out, _ = run("check", "marked.py:Skeleton", "--objective", "trace")
    assert code == 2
    assert "use --objective enum" in out


@pytest.mark.parametrize("name", ["linear_regression", "gaussian_mixture", "cvae"])
def test_a_model_of_the_gallery_passes(name):
    """All of them, small, are held to the same clauses by test_contract."""
    answers = examine(name)
    assert [clause for clause, _, _ in answers] == ["data", *CLAUSES]
    assert all(found == [] for _, _, found in answers)


def test_data_that_suit_the_model(run):
    assert "12 rows of digits:threshold" in run("check", write({}))[1]
    normal = {
        DATA: DATA.replace("dist.Bernoulli(logits=self.decoder(z))", "dist.Normal(self.decoder(z), zero[:, :1] + 1)")
    }
    assert "12 rows of digits:grey" in run("check", write(normal, "normal.py"))[1]
    fixed = {
        "nn.Linear(data_dim, hidden)": "nn.Linear(9, hidden)",
        "nn.Linear(hidden, data_dim)": "nn.Linear(hidden, 9)",
    }
    code, out, _ = run("check", write(fixed, "fixed.py"))
    assert (code, "12 rows of draws of the model itself" in out) == (0, True)
    np.savez("own.npz", x=np.zeros((4, 6)))
    assert "on 5 or more" in run("check", write({}), "--data", "own.npz:threshold")[2]


def test_new_writes_a_model_that_passes_and_fits(run, tmp_path):
    code, out, _ = run("new", "my_model")
    assert code == 0
    assert run(*out.splitlines()[1].split()[1:])[0] == 0
    assert run("fit", "my_model.py:MyModel", *DIGITS, "--hidden", 8)[0] == 0
    written = (tmp_path / "my_model.py").read_text()
    assert "keleton" not in written
    code, _, err = run("new", "my_model")
    assert (code, err.count("\n")) == (2, 1)
    assert "nothing was written" in err
    assert (tmp_path / "my_model.py").read_text() == written
    assert run("new", "other", "--out", "models.py")[0] == 0
    assert "class Other(" in (tmp_path / "models.py").read_text()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["my-model"], "letters, digits and _"),
        (["2nd"], "letters, digits and _"),
        (["class"], "letters, digits and _"),
        (["_"], "letters, digits and _"),
        (["mine.py"], "letters, digits and _"),
        (["tensor"], "Tensor is the name of something"),
        (["mine", "--out", "mine.txt"], ".py"),
        (["mine", "--out", "no/mine.py"], "no folder no"),
    ],
)
def test_names_that_are_none(refused, tmp_path, arguments, word):
    refused(["new", *arguments], word)
    assert not list(tmp_path.iterdir())


WIDTH = "hidden: int = 8"
FAULTS = {
    "syntax": ("x = (\n", ["cannot be imported", "SyntaxError", "mine.py:1"]),
    "import": ("import nothing_of_that_name\n", ["cannot be imported", "nothing_of_that_name", "mine.py:1"]),
    "exit": ("raise SystemExit(3)\n", ["cannot be imported", "SystemExit", "mine.py:1"]),
    "no class": ("class Other:\n    pass\n", ["no class Skeleton", "it has Other"]),
    "no module": ("class Skeleton:\n    pass\n", ["not a torch.nn.Module"]),
    "no guide": (GOOD.replace("def guide", "def guess"), ["no method guide"]),
    "no default": (GOOD.replace("data_dim: int = 64", "width: int, data_dim: int = 64"), ["width has no default"]),
    "no number": (GOOD.replace(WIDTH, f"{WIDTH}, act=print"), ["act is <built-in", "run.json"]),
    "no type": (GOOD.replace(WIDTH, 'hidden: "Width" = 8'), ["'Width' is not defined"]),
    "refusal": (GOOD.replace(INIT, f'{INIT}        raise ValueError("no\\nsuch")\n'), ["no such", "mine.py:28"]),
    "constructor": (GOOD.replace(INIT, ""), ["AttributeError", "mine.py:28: self.encoder"]),
    "model": (GOOD.replace("self.decoder(z)", "self.decoder(z, z)"), ["TypeError", "mine.py:37"]),
    "guide": (GOOD.replace("self.encoder(x)", "self.encoder(x.T)"), ["RuntimeError", "mine.py:42"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_ones_own_file_is_one_line(refused, fault):
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


def test_a_fit_does_not_begin_with_parameters_that_nobody_learns(refused):
    path = write({'        pyro.module("encoder", self.encoder)\n': ""})
    refused(["fit", path, *DIGITS], "encoder.0.weight", "would not be learnt", "gallery check")


def test_a_picture_that_cannot_be_drawn_does_not_cost_the_fit(run, monkeypatch):
    monkeypatch.setattr("gallery.figures.draw", draw)
    changes = {PLATES[0]: f'        if not x.any():\n            raise ValueError("no counts")\n{PLATES[0]}'}
    with pytest.warns(UserWarning, match="is left out: ValueError: no counts"):
        code, out, _ = run("fit", write(changes), *DIGITS)
    assert code == 0
    assert "test ELBO" in out
    assert Path("run/metrics.json").exists()


def test_a_file_without_its_class_is_told_of_its_classes(refused):
    path = write({}).partition(":")[0]
    refused(["fit", path, *DIGITS], f"{path}:CLASS", "Skeleton")


def test_a_diagram_is_drawn_of_what_suits_the_model(run):
    for name in (write({}), "vae"):
        assert run("show", name, "--diagram", "drawn.svg")[0] == 0
        assert "</svg>" in Path("drawn.svg").read_text()


def test_events_of_steps_and_coordinates_are_told_to_be_flat(refused):
    folded = "dist.Bernoulli(logits=self.decoder(z).unflatten(1, (8, 8))).to_event(2), obs=x)"
    path = write({DATA: f'pyro.sample("x", {folded}'})
    refused(["fit", path, *DIGITS], "rows of shape (8, 8)", "Rows come flat")
