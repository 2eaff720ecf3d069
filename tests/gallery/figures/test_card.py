"""Panels of exact models: without text on a card, with axes on a page."""

import pytest

from gallery.catalogue.recipes import recipe_for
from gallery.figures.card import CARD, card
from gallery.runs.specification import run_of

EXACT = ("exponential_gaussian", "squared_gaussian", "linear_regression", "logistic_regression", "eight_schools")
MORE = ("item_response", "loaded_die", "gaussian_mixture", "hmm", "state_space", "factor_analysis", "ppca")


@pytest.mark.parametrize("name", [*EXACT, *MORE])
def test_a_card_has_no_text_and_a_page_has_axes(name):
    run = run_of(recipe_for(name), 0)
    train = run.datasets()["train"]
    plain, labelled = (card(run.build(), train, labels) for labels in (False, True))
    assert tuple(round(inches * 110) for inches in plain.get_size_inches()) == CARD
    (ax,) = plain.axes
    assert not ax.axison
    assert (ax.get_title("left"), ax.get_legend(), list(ax.texts)) == ("", None, [])
    assert all((labelled.axes[0].get_xlabel(), labelled.axes[0].get_ylabel(), labelled.axes[0].get_title("left")))


def test_a_model_without_exact_posterior_has_no_panel():
    run = run_of(recipe_for("autoencoder"), 0, quick=True)
    assert card(run.build(), run.datasets()["train"]) is None
