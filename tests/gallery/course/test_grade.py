"""`gallery grade`: versions of a lesson, files with errors, exit codes, one line per exercise, no traceback."""

import json

import pytest
from torch.distributions import Dirichlet, kl_divergence

from gallery.cli.main import main
from gallery.course import LESSONS, lesson
from gallery.course.grade import grade, read_cells, run_cells
from gallery.course.source import HOLE, cells_of

TITLE = "# %% [markdown]\n# # Lesson 1: A model and a guide\n\n"
CORRECT = TITLE + "# %%\ndef posterior(counts):\n    return 1 + counts\n"


def graded(tmp_path, capsys, text, *flags, name="mine.py"):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    code = main(["grade", str(file), *flags])
    return code, capsys.readouterr()


@pytest.mark.parametrize("number", LESSONS)
def test_a_lesson_has_title_goals_and_a_hole_for_each_exercise(number):
    it = lesson(number)
    first = it.cells[0].source
    assert first.startswith(f"# Lesson {number}: ")
    assert all(f"- **{word}" in first for word in ("Before", "Afterwards", "Time"))
    assert len(it.lead) > 60
    student = "\n".join(cell.source for cell in it.student())
    assert "# end" not in student
    for cell in it.cells:
        for indent, n, words, _ in HOLE.findall(cell.source):
            assert (f"# exercise {n}: {words}" if not indent else f"exercise {n}: ") in student
    lines = [line for cell in it.student() + it.solution() if cell.kind == "code" for line in cell.source.splitlines()]
    assert max(map(len, lines)) <= 120  # what a page of 1280 pixels shows without scrolling
    assert "%matplotlib inline" in it.notebook()


@pytest.mark.parametrize(("flags", "name"), [([], "lesson-3.ipynb"), (["--solution"], "lesson-3-solution.ipynb")])
def test_a_notebook_is_written_by_a_command_and_not_over_another(tmp_path, monkeypatch, capsys, flags, name):
    monkeypatch.chdir(tmp_path)
    assert main(["lesson", "3", *flags]) == 0
    assert (tmp_path / name).read_text() == lesson(3).notebook(solved=bool(flags))
    assert capsys.readouterr().out.startswith(f"{name}: {lesson(3).title}\n")
    (tmp_path / name).write_text("answers")
    assert main(["lesson", "3", *flags]) == 2
    assert capsys.readouterr().err == f"gallery: {name} exists, perhaps with answers. Use --overwrite.\n"
    assert main(["lesson", "3", *flags, "--overwrite"]) == 0
    assert (tmp_path / name).read_text() != "answers"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["11"], "there is no lesson 11"),
        (["1", "--out", "a.py"], "a.py must end in .ipynb"),
        (["one"], "NUMBER"),
        (["1", "--out", "no/such/folder/a.ipynb"], "no/such/folder"),
    ],
)
def test_a_notebook_that_cannot_be_written_is_refused_in_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["lesson", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", LESSONS)
@pytest.mark.parametrize("solved", [False, True])
def test_a_notebook_has_the_cells_of_the_lesson(number, solved, tmp_path):
    content = json.loads(lesson(number).notebook(solved))
    assert content["nbformat"] == 4
    assert len(content["cells"]) == len(lesson(number).cells)
    (file := tmp_path / "it.ipynb").write_text(json.dumps(content), encoding="utf-8")
    expected = lesson(number).solution() if solved else lesson(number).student()
    assert [(it.kind, it.source) for it in read_cells(file)] == [(it.kind, it.source) for it in expected]


@pytest.mark.parametrize("solved", [False, True])
def test_a_notebook_is_valid(solved):
    nbformat = pytest.importorskip("nbformat", reason="pip install latent-gallery[notebooks]")
    nbformat.validate(json.loads(lesson(1).notebook(solved)))


def test_jupytext_reads_the_same_cells():
    jupytext = pytest.importorskip("jupytext", reason="pip install latent-gallery[notebooks]")
    from importlib.resources import files

    path = files("gallery.course") / "lessons" / "lesson_01.py"
    read = [(cell.cell_type, cell.source.strip()) for cell in jupytext.reads(path.read_text(), fmt="py:percent").cells]
    ours = [(cell.kind, cell.source.replace("# %matplotlib", "%matplotlib").strip()) for cell in lesson(1).cells]
    assert read == ours


def test_an_error_does_not_hide_the_others(tmp_path, capsys):
    text = CORRECT + "\n# %%\nraise ValueError('here')\nlog_evidence = 1 / 0\n\n# %%\ndef probability_of_six(:\n"
    code, out = graded(tmp_path, capsys, text)
    lines = out.out.splitlines()
    assert code == 1
    assert lines[1].startswith("exercise 1  open: Die is not defined")
    assert lines[2] == "exercise 2  holds: The posterior of the die"
    assert lines[3] == "exercise 3  wrong: log_evidence is not defined (line 10: ZeroDivisionError: division by zero)"
    assert lines[4].startswith("exercise 4  wrong: probability_of_six is not defined (line 13: ")
    assert lines[5] == "1 of 4 exercises hold"
    assert out.err == ""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return None", "None: does the function end with `return`?"),
        ("pass", "None: does the function end with `return`?"),
        ("return 'six'", "is 'str', expected a number or numbers"),
        (
            "return counts[9]",
            "raises IndexError: index 9 is out of bounds for dimension 0 with size 6 (line 7)",
        ),
        ("return counts.nan", "AttributeError"),
        ("return counts * float('nan')", "[0] is nan, expected 2"),
        ("return counts[:2]", "has shape (2,), expected (6,)"),
        ("raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})", "the answer raises Odd (line 7)"),
        ("raise SystemExit(3)", "SystemExit: 3 (line 7)"),
        ("import sys; sys.exit()", "SystemExit (line 7)"),
    ],
)
def test_faults_of_an_answer_are_one_line(body, words, tmp_path, capsys):
    code, out = graded(tmp_path, capsys, TITLE + f"# %%\n\ndef posterior(counts):\n    {body}\n")
    assert code == 1
    (line,) = [line for line in out.out.splitlines() if line.startswith("exercise 2")]
    assert line.startswith("exercise 2  wrong: ")
    assert words in line


@pytest.mark.parametrize(
    "statement",
    ["return 1", "await nothing()", "x = 'a\0b'", "raise KeyError", "del nothing", "import nowhere", "f(" * 300],
)
def test_statements_that_cannot_run_are_skipped(statement, tmp_path, capsys):
    code, out = graded(tmp_path, capsys, f"{CORRECT}\n# %%\n{statement}\n\n# %%\nlast = 1\n")
    assert code == 1
    assert "exercise 2  holds" in out.out
    assert out.err == ""


def test_a_hole_is_open_and_names_its_cell(tmp_path, capsys):
    code, out = graded(tmp_path, capsys, lesson(1).notebook(), name="mine.ipynb")
    assert code == 1
    lines = out.out.splitlines()
    assert lines[2] == "exercise 2  open: a hole is left (cell 6, line 3); The posterior of the die"
    assert lines[-1] == "0 of 4 exercises hold"
    assert all("  open: " in line for line in lines[1:-1])


def test_magics_and_output_of_a_notebook_are_ignored(tmp_path, capsys):
    source = ["%matplotlib inline\n", "!ls\n", "print('noise')\n", "def posterior(counts):\n", "    return 1 + counts"]
    content = {"cells": [{"cell_type": "code", "source": source}, {"cell_type": "raw", "source": "x = ("}]}
    code, out = graded(tmp_path, capsys, json.dumps(content), "--lesson", "1", name="mine.ipynb")
    assert code == 1
    assert "exercise 2  holds" in out.out
    assert "noise" not in out.out


def test_all_correct_is_exit_code_0(tmp_path, capsys, monkeypatch):
    from gallery.course import grade as course

    monkeypatch.setattr(course, "exercises_of", lambda number: {2: course_check})
    code, out = graded(tmp_path, capsys, CORRECT)
    assert (code, out.out.splitlines()[-1]) == (0, "1 of 1 exercises hold")


def course_check(posterior):
    """A title."""
    assert posterior(1) == 2


@pytest.mark.parametrize(
    ("name", "text", "flags", "words"),
    [
        ("mine.py", "x = 1", (), "has no title `# Lesson N`: which lesson is it of? Use --lesson N."),
        ("mine.py", "x = 1", ("--lesson", "11"), f"there is no lesson 11: lesson must be from 1 to {LESSONS[-1]}."),
        ("mine.py", "# # Lesson 0: x", (), "there is no lesson 0"),
        ("mine.ipynb", "{", (), "is not readable as a .ipynb file"),
        ("mine.ipynb", "[1]", (), "is not readable as a .ipynb file"),
        ("mine.txt", "", (), "must end in .py or .ipynb"),
    ],
)
def test_a_users_fault_is_exit_code_2(name, text, flags, words, tmp_path, capsys):
    code, out = graded(tmp_path, capsys, text, *flags, name=name)
    assert code == 2
    assert words in out.err
    assert len(out.err.splitlines()) == 1
    assert out.out == ""


def test_a_missing_file_is_exit_code_2(tmp_path, capsys):
    assert main(["grade", str(tmp_path / "none.py")]) == 2
    assert "there is no file" in capsys.readouterr().err


def test_the_process_is_as_before(tmp_path):
    import torch

    state = torch.get_default_dtype()
    source = "import torch\ntorch.set_default_dtype(torch.float64)\ndef posterior(counts):\n    return 1 + counts\n"
    answers = run_cells(cells_of(source), tmp_path / "mine.py")
    try:
        assert grade(answers, 1)[1].verdict == "holds"
    finally:
        torch.set_default_dtype(state)


def run_whole(number, tmp_path, monkeypatch, solved):
    monkeypatch.chdir(tmp_path)
    cells = lesson(number).solution() if solved else lesson(number).student()
    return run_cells(cells, tmp_path / "it.py", quiet=True)


def the_guide_is_close(names):
    throws, pair = names["throws"].sum(0), names["pair"]
    guide = Dirichlet(pair.q["log_concentration"].exp().detach())
    assert kl_divergence(guide, Dirichlet(names["posterior"](throws))) < 0.2


def all_reach_the_same_evidence(names):
    last = [curve[-1] for curve in names["curves"].values()]
    assert max(last) - min(last) < 0.01


def the_kl_falls(names):
    least, half, one, four, most = names["rates"]
    assert least > half > one + 0.5 > four + 1
    assert max(four, most) < 0.1
    nats = [number["value"] for number in names["information"]]
    assert nats[0] > 6.5
    assert max(nats[3:]) < 0.1


CLAIMS = {1: the_guide_is_close, 6: all_reach_the_same_evidence, 9: the_kl_falls}
"""What the text says of a fit, by lesson."""


@pytest.mark.slow
@pytest.mark.parametrize("number", LESSONS)
def test_the_solution_runs_as_a_whole(number, tmp_path, monkeypatch):
    answers = run_whole(number, tmp_path, monkeypatch, True)
    if number in CLAIMS:
        CLAIMS[number](answers.names)
    assert answers.raised == []
    assert {it.verdict for it in grade(answers, number)} == {"holds"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", LESSONS)
def test_the_students_version_fails_in_its_holes_only(number, tmp_path, monkeypatch):
    answers = run_whole(number, tmp_path, monkeypatch, False)
    assert {it.verdict for it in grade(answers, number)} == {"open"}
    assert all("exercise " in line or "name '" in line or "ellipsis" in line.lower() for line in answers.raised)
