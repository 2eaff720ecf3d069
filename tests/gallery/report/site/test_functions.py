"""The functions of a model page: folded to 80 columns with the same syntax tree."""

import ast
import inspect
import re
import textwrap

import pytest

from gallery.models import MODELS
from gallery.report.site.functions import COLUMNS, fold, model_and_guide
from gallery.report.site.model_page import definition, references


def tree(source):
    """Return the syntax tree of functions as text, their docstrings with single spaces."""
    functions = ast.parse(source)
    for function in functions.body:
        first = function.body[0]
        if ast.get_docstring(function):
            first.value.value = " ".join(first.value.value.split())
    return ast.dump(functions)


@pytest.mark.parametrize("name", MODELS)
def test_a_folded_function_is_the_same_function(name):
    folded = model_and_guide(name)
    parts = [function.name for function in ast.parse(folded).body]
    assert parts[:2] == ["model", "guide"]
    assert len(set(parts)) == len(parts)
    whole = [textwrap.dedent(inspect.getsource(getattr(MODELS[name], part))) for part in parts]
    assert tree(folded) == tree("\n".join(whole))
    assert max(map(len, folded.splitlines())) <= COLUMNS


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("squared_gaussian", []),
        ("gmvae", ["component"]),
        ("denoising_autoencoder", ["prior", "corrupt", "expected"]),  # `expected` by `corrupt`
        ("vrnn:smoothing", ["register_generative", "rows", "within", "infer", "future", "start", "advance"]),
    ],
)
def test_the_methods_that_model_and_guide_call_are_shown(name, methods):
    shown = [function.name for function in ast.parse(model_and_guide(name)).body]
    assert sorted(shown) == sorted(["model", "guide", *methods])


def test_folding_keeps_strings_and_comments():
    source = f"f(a, [b for b in {'c' * 40}], d={'e' * 30}, text='# no comment, (')  # a comment\n"
    assert ast.dump(ast.parse(fold(source))) == ast.dump(ast.parse(source))
    assert "# a comment\n" in fold(source)
    text = f"s = '''\n{'x, ' * 40}'''\n"
    assert fold(text) == text


@pytest.mark.parametrize("name", MODELS)
def test_no_line_ends_between_the_parameters_of_a_lambda(name):
    source = f"f(lambda a, b: ({'c' * 40}, a), [{'d' * 40}, lambda: 0], e)\n"
    assert "    lambda a, b: (" in fold(source)
    assert ast.dump(ast.parse(fold(source))) == ast.dump(ast.parse(source))
    assert not re.search(r"lambda [^:\n]*\n", model_and_guide(name))


def test_the_page_shows_the_definition_and_not_its_vectorised_twin():
    assert definition("vrnn") == "vrnn:steps"
    assert definition("vae") == "vae"


def test_references_have_authors_title_year_and_link():
    text = """@misc{a,
  author = {On{\\"e}, A. and {Two Three}},
  title = {The {Title}},
  year = {2020},
  eprint = {2001.00001}
}
@book{b,
  author = {Four, B.},
  title = {A & B},
  year = {1999}
}
"""
    first, second = references(text)
    assert (first.authors, first.title, first.year) == ("Onë and Two Three", "The Title", "2020")
    assert first.link == "https://arxiv.org/abs/2001.00001"
    assert second.link.endswith("q=A+%26+B")
