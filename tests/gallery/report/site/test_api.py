"""The API page: every public name has its signature and docstring there, and fields become lists."""

import inspect
from types import ModuleType

import pytest

import data
import gallery
import inference
from gallery.models.vae import VAE
from gallery.report.site.api import api, document, parse
from inference import Settings


@pytest.fixture(scope="module")
def packages():
    return {package.name: {it.name: it for it in package.names} for package in api()}


def test_every_public_name_is_documented(packages):
    assert list(packages) == ["inference", "data", "gallery"]
    for package in (inference, data, gallery):
        assert list(packages[package.__name__]) == package.__all__
        for name, it in packages[package.__name__].items():
            value = getattr(package, name)
            assert it.signature.startswith(name) or inspect.ismodule(value)
            if callable(value):
                assert it.summary.endswith((".", ":")), name  # a whole sentence
                assert it.body.startswith("<"), name


def test_a_signature_has_every_parameter_and_no_module_path(packages):
    signature = packages["inference"]["log_weights"].signature
    assert signature == ("log_weights(pair: Pair, x: Tensor, given: Tensor | None = None, k: int = 1) -> Tensor")
    load = packages["data"]["load"].signature
    assert "    *,\n" in load
    assert "'Dataset'" not in load
    assert load.endswith(") -> Dataset")
    for parameter in inspect.signature(Settings).parameters:
        assert f" {parameter}: " in packages["inference"]["Settings"].signature


def test_fields_of_a_docstring_become_lists():
    text = """Compute f.

    Second paragraph.

:param x: (n, d),
    continued
:param y: another
:return: a number
:raises ValueError: if x is empty"""
    body, fields = parse(text)
    assert body == "Compute f.\n\n    Second paragraph."
    assert fields == {
        "param": [("x", "(n, d),\ncontinued"), ("y", "another")],
        "return": [("", "a number")],
        "raises": [("ValueError", "if x is empty")],
    }
    assert parse("Only text.") == ("Only text.", {})


def test_markup_in_a_docstring_is_text():
    module = ModuleType("hostile")
    exec('def f(x="<script>"):\n    """<script>alert(1)</script>\n\n    :param x: <img src=x>"""', vars(module))
    module.f.__module__ = "hostile"
    it = document(module, "f")
    assert "<script" not in it.body
    assert "&lt;script&gt;" in it.body
    ((heading, ((name, text),)),) = it.fields
    assert (heading, name) == ("Parameters", "x")
    assert "<img" not in text


def test_a_doctest_is_code():
    module = ModuleType("mine")
    exec('def f():\n    """Return 1.\n\n    >>> f()\n    1\n    """', vars(module))
    assert "<pre><code>&gt;&gt;&gt; f()\n1\n</code></pre>" in document(module, "f").body


def test_models_lead_to_their_pages_and_methods_are_listed(packages):
    assert packages["gallery"]["VAE"].page == "vae.html"
    assert packages["inference"]["SVI"].page == ""
    names = {member.name for member in packages["gallery"]["FactorAnalysis"].members}
    assert {f"FactorAnalysis.{name}" for name in ("log_evidence", "posterior")} <= names
    assert not [name for name in names if "._" in name]
    assert VAE.__name__ in packages["gallery"]["VAE"].signature


def test_a_table_has_the_docstring_of_the_module_that_assigns_it(packages):
    for package, names in {"inference": ("GUIDES", "OBJECTIVES"), "gallery": ("MODELS",)}.items():
        for name in names:
            assert packages[package][name].summary, name


def test_code_and_folders_of_a_package_keep_their_lines():
    about = {package.name: str(package.about) for package in api()}
    assert about["inference"].count("<pre") == 2  # a first use, and the folders
    assert about["data"].count("<pre") >= 1
