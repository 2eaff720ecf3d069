"""The diagrams of a page have the symbols of the story in place of the argument `given`."""

import pytest

import data
from data.chorales import NOTES, PARTS, STEPS
from gallery.report.site.diagrams import diagrams, example


@pytest.mark.parametrize(
    ("family", "factors"),
    [
        ("cvae", "p(z | y; prior) p(x | z, y; decoder)"),
        ("linear_regression", "p(w) p(x | w, c)"),
        ("ss_vae", "p(y | label) p(z) p(x | y, z; decoder)"),
    ],
)
def test_what_a_model_conditions_on_has_its_symbol(family, factors):
    drawn = diagrams(family)
    assert drawn[0].factors == factors
    assert not any(">given<" in it.svg for it in drawn)


@pytest.mark.parametrize(
    ("name", "width", "total"),
    [
        ("deep_markov", STEPS * NOTES, PARTS["train"][0]),
        ("autoencoder", 28 * 28, 55_000),
        ("contractive_autoencoder:deep", 64, len(data.load("digits:grey"))),
    ],
)
def test_a_diagram_is_of_the_data_of_the_recipe_and_needs_no_files(name, width, total, tmp_path, monkeypatch):
    monkeypatch.setenv("GALLERY_DATA", str(tmp_path))
    _, (x, *_), n = example(name)
    assert x.shape[1] == width
    assert n == total


def test_a_long_sequence_is_a_product_over_its_steps():
    """What the guide reads of a distant step changes no density by more than rounding, and is drawn all the same."""
    *_, guide = diagrams("state_space")
    assert guide.name == "state_space:local_level"
    assert guide.factors == "product over t = 1, ..., 100 of q(z_t | x_t:T, z_t-1; φ)"


def test_the_steps_that_a_guide_reads_are_those_of_its_formula():
    """A guide reads earlier rows by its state. The smoothing one takes a missing row for the end of its image."""
    guides = diagrams("vrnn")[1:]
    assert all("q(h_t | x_t-1, h_t-1, z_t-1; recurrence)" in it.factors for it in guides)
    assert [(it.name, it.factors.partition("recurrence) ")[2].partition(";")[0]) for it in guides] == [
        ("vrnn", "q(z_t | x_t, h_t"),
        ("vrnn:smoothing", "q(z_t | x_t:T, h_t"),
    ]
