"""Cards of the index page, and the numbers on them."""

import pytest

from gallery.catalogue.entries import NAMES
from gallery.catalogue.recipes import RECIPES
from gallery.ledger import tables
from gallery.ledger.reproduce import read
from gallery.report.site import _write_index
from gallery.report.site.numbers import headline, numbers, spread
from gallery.report.site.sections import card


def test_a_card_has_a_number_if_the_ledger_has_one(tmp_path):
    ledger = read(tables.LEDGER / "ledger.json")
    empty = card("vae", {}, tmp_path, [], tmp_path)
    assert (empty.number, empty.picture) == (None, "")
    full = card("vae", ledger, tables.LEDGER, [], tmp_path)
    measured = ledger["vae:sampled"]["runs"]["0"]["test"]["elbo"]
    assert float(full.number.measured) == pytest.approx(measured["value"], abs=0.005)
    assert full.number.error("se") == f"{measured['se']:.2g}"
    assert full.number.n == "10,000"
    assert "mnist:dequantized" in full.data
    assert full.number.meaning.startswith("a lower bound")


def test_a_card_without_results_names_the_command(tmp_path):
    _write_index(tmp_path, {}, [])
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert text.count("Not run yet") == len(NAMES)
    assert "gallery reproduce vae<" in text


def test_the_headline_of_a_point_guide_is_no_bound():
    ledger = read(tables.LEDGER / "ledger.json")
    line = headline(numbers(RECIPES["autoencoder"], ledger["autoencoder"]))
    assert line.name == "squared error"
    assert "no bound" in line.meaning


def test_spread_of_seeds():
    assert spread([]) == ""
    assert spread([-1.0]) == "−1.00"
    assert spread([3.0, 1.0, 2.0]) == "2.00 [1.00, 3.00]"
    assert spread([1.0, 1.0001]) == "1.00"


def test_the_number_of_a_card_has_its_data_points_and_its_unit():
    rows = read(tables.LEDGER / "ledger.json")
    cards = {name: headline(numbers(recipe, rows.get(name))) for name, recipe in RECIPES.items()}
    shown = {name: card for name, card in cards.items() if card is not None}
    assert "linear_regression" in shown  # its ELBO is that of the training data
    assert [name for name, card in shown.items() if not (card.n and card.unit)] == []
