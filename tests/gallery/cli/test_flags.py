"""The words of flags: what is no integer is refused, not rounded; and warnings, each once."""

import warnings
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("command", "flag", "word"),
    [
        ("fit exponential_gaussian --epochs 1.5", "--epochs", "1.5"),
        ("fit vae --hidden 3 4.0 --data digits:threshold", "--hidden", "4.0"),
        ("fit exponential_gaussian --epochs x", "--epochs", "x"),
        ("compare exponential_gaussian --seeds 2.5", "--seeds", "2.5"),
        ("compare --lesson iwae --jobs 1.5", "--jobs", "1.5"),
        ("evaluate run --particles 0.6", "--particles", "0.6"),
        ("reproduce hmm --seeds 1e0", "--seeds", "1e0"),
    ],
)
def test_what_is_no_integer_is_refused(run, command, flag, word):
    code, _, err = run(*command.split())
    assert code == 2
    assert err == f"gallery: Invalid value for {flag}: expected an integer, got {word!r}. Write digits alone.\n"


WARNS = """
import warnings
from gallery.models.exponential_gaussian import ExponentialGaussian


class Warns(ExponentialGaussian):
    def model(self, x, total=None):
        warnings.warn("a warning of the model")
        return super().model(x, total)
"""


def test_a_warning_is_shown_once(run, no_figures):
    Path("mine.py").write_text(WARNS)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert run("fit", "mine.py:Warns", "--data", "exponential_gaussian", "--epochs", 1)[0] == 0
    assert [str(it.message) for it in warned].count("a warning of the model") == 1


@pytest.mark.parametrize("command", ["check vae --one-hot a", "compare cvae --label a", "evaluate here --columns a"])
def test_a_flag_on_columns_names_where_it_belongs(run, command):
    code, _, err = run(*command.split())
    assert code == 2
    assert "is a flag of `gallery fit`. Here it is part of the data: --data 'x.csv?columns=a,b&label=c'." in err
