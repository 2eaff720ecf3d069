"""A row whose runs have other settings than its recipe has now says so."""

import pytest

from gallery.catalogue.recipes import RECIPES
from gallery.ledger.fields import differences
from gallery.ledger.reproduce import read
from gallery.ledger.tables import LEDGER, results_sections
from gallery.runs.specification import run_of

ROWS = read(LEDGER / "ledger.json")
SECTIONS = {part.partition("`")[0]: part for part in results_sections().split("### `")[1:]}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_other_settings_says_so(name):
    older = any(differences(RECIPES[name], run) for run in ROWS[name]["runs"].values())
    assert ("Measured before the recipe was changed" in SECTIONS[name]) == older
    for run in ROWS[name]["runs"].values():
        assert run["data"].startswith(RECIPES[name].data)


@pytest.mark.parametrize("name", [name for name in ROWS if name.endswith(":sampled")])
def test_a_sampled_row_is_of_exactly_its_recipe(name):
    """What was measured with a sampled KL has moved to these rows."""
    assert ROWS[name]["command"] == f"gallery reproduce {name}"
    for run in ROWS[name]["runs"].values():
        assert run["settings"]["objective"] == "trace"
        assert differences(RECIPES[name], run) == {}


def test_differences_of_settings_of_keywords_and_of_younger_ones():
    recipe, run = RECIPES["gaussian_mixture"], next(iter(ROWS["gaussian_mixture"]["runs"].values()))
    assert differences(recipe, run) == {}
    assert differences(recipe, run | {"validation": False}) == {"validation": (True, False)}
    other = run | {"settings": run["settings"] | {"epochs": 1}, "keywords": run["keywords"] | {"components": 4}}
    assert differences(recipe, other) == {"epochs": (recipe.settings["epochs"], 1), "components": (3, 4)}
    without = {name: value for name, value in run["settings"].items() if name != "particles"}
    assert differences(recipe, run | {"settings": without}) == {}


def test_a_quick_run_of_the_static_images_needs_no_files():
    for name in ("vae:static_mnist", "vae:static_mnist:iwae"):
        assert RECIPES[name].data == "static_mnist"
        assert not RECIPES[name].validation  # the paper's fits take all 60,000
        assert run_of(RECIPES[name], 0, quick=True).data == "digits:threshold"
