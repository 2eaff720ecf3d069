"""Cards of the index page, their numbers and their marks."""

import statistics

import pytest

from gallery.catalogue.entries import NAMES
from gallery.ledger import tables
from gallery.ledger.reproduce import read
from gallery.report.site import _write_index
from gallery.report.site.numbers import spread
from gallery.report.site.sections import PATH, Headline, card, marks_of, number_of


def test_a_card_has_a_number_if_the_ledger_has_one(tmp_path):
    ledger = read(tables.LEDGER / "ledger.json")
    empty = card("vae", {}, tmp_path, [], tmp_path)
    assert (empty.number, empty.picture) == (None, "")
    full = card("vae", ledger, tables.LEDGER, [], tmp_path)
    median = statistics.median(run["test"]["kl"]["value"] for run in ledger["vae"]["runs"].values())
    assert float(full.number.value) == pytest.approx(median, abs=0.005)
    assert full.number.unit == "nats"


@pytest.mark.integration
def test_a_card_without_results_names_the_command(tmp_path):
    _write_index(tmp_path, {}, [])
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert text.count("Not run yet") == len(NAMES)
    assert "gallery reproduce vae<" in text


def test_no_card_has_a_bound():
    """Bounds of different pixels are logarithms of probabilities or of densities: no reader should compare them."""
    rows = read(tables.LEDGER / "ledger.json")
    numbers = {name: number_of(run) for name, row in rows.items() if name in NAMES for run in row["runs"].values()}
    assert all(
        number is not None and number.unit in ("nats", "%", "squared error", "perplexity")
        for number in numbers.values()
    )
    assert not any("ELBO" in number.what or "log p" in number.what for number in numbers.values())
    assert numbers["ss_vae"].unit == "%"
    assert "squared" in numbers["autoencoder"].unit
    assert numbers["lda"].unit == numbers["prod_lda"].unit == "perplexity"


def test_a_gap_is_of_the_training_data_where_a_latent_is_global():
    bounds = {"evidence": {"value": -1.0}, "elbo": {"value": -1.25}}
    test = {"evidence": {"value": -1.0}, "elbo": {"value": -9.0}, "undefined": {"se": "a latent is global"}}
    assert number_of({"test": test, "train": bounds}).value == "0.2500"
    exact = {"evidence": {"value": -1.0}, "elbo": {"value": -1.0 + 1e-7}}
    assert number_of({"test": exact}).value == "< 0.0001"
    assert number_of({"test": {}}) is None
    assert number_of({"test": {"kl": {"value": 2.0}}}) == Headline(
        "2.00", "nats", "in the code of a data point (KL from the prior)"
    )


def test_the_number_of_a_card_is_the_median_of_the_seeds():
    runs = [{"test": {"classifier_accuracy": {"value": value}}} for value in (0.9, 0.7, 0.8)]
    assert number_of(*runs) == Headline("20.00", "%", "of the test images are misclassified")


def test_marks_of_a_card():
    assert marks_of("loaded_die", 4.0, True) == ("no data needed", "takes seconds", "can be played with")
    assert marks_of("vae", 668.0, False) == ()
    assert marks_of("loaded_die", None, False) == ("no data needed",)


def test_the_reading_path_has_models_once():
    assert set(PATH) <= set(NAMES)
    assert len(set(PATH)) == len(PATH)


def test_spread_of_seeds():
    assert spread([]) == ""
    assert spread([-1.0]) == "−1.00"
    assert spread([3.0, 1.0, 2.0]) == "2.00 [1.00, 3.00]"
    assert spread([1.0, 1.0001]) == "1.00"
