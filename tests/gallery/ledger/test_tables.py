"""Tables: published, re-measured and measured numbers in separate cells, with their digits; rows of one seed marked."""

import pytest

from gallery.catalogue.published import PUBLISHED, REMEASURED
from gallery.catalogue.recipes import RECIPES
from gallery.ledger import tables
from gallery.ledger.tables import HEADER, LEDGER, overview_table, read, results_sections, source_number

LEDGER_ROWS = read(LEDGER / "ledger.json")


def cells(name):
    """The cells of a recipe's section, by quantity and column."""
    section = results_sections().partition(f"### `{name}`")[2].partition("### `")[0]
    lines = [line[2:-2].replace("\\|", "/") for line in section.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    return section, {row[0].replace("/", "|"): dict(zip(HEADER, row, strict=True)) for row in rows}


@pytest.mark.parametrize(
    ("value", "text"),
    [(1655.07, "1655.07"), (1777.0, "1777"), (-83.02, "-83.02"), (0.036, "0.036"), (12345.67, "12345.67"), (None, "")],
)
def test_a_number_of_a_source_has_the_digits_of_the_source(value, text):
    assert source_number(value) == text


@pytest.mark.parametrize(("name", "field"), [("factor_analysis", "ELBO"), ("ss_vae", "error of q(y | x)")])
def test_what_was_measured_otherwise_stands_in_a_row_of_its_own(monkeypatch, name, field):
    monkeypatch.setitem(PUBLISHED, name, {field: -4.25, f"{field}, of ten draws": -4.125})
    monkeypatch.setitem(REMEASURED, name, {"KL": 2.03125, f"{field}, of the released weights": -4.0625})
    _, rows = cells(name)
    assert rows[field]["published"] == "-4.25"
    assert rows[field]["median"]
    for other, column, text in (
        (f"{field}, of ten draws", "published", "-4.125"),
        (f"{field}, of the released weights", "re-measured", "-4.0625"),
    ):
        assert {key: cell for key, cell in rows[other].items() if cell and key != "quantity"} == {column: text}
    assert (rows["KL"]["published"], rows["KL"]["re-measured"]) == ("", "2.03125")


@pytest.mark.parametrize("name", ["factor_analysis", "gaussian_mixture"])
def test_a_row_of_one_seed_is_marked_in_every_table(monkeypatch, name):
    marked = [line for line in overview_table().splitlines() if "one seed" in line]
    assert not [line for line in marked if f"`{name}`" in line]
    assert "One seed" not in cells(name)[0]
    first = dict(list(LEDGER_ROWS[name]["runs"].items())[:1])
    monkeypatch.setattr(tables, "read", lambda path: LEDGER_ROWS | {name: LEDGER_ROWS[name] | {"runs": first}})
    assert "One seed" in cells(name)[0]
    (line,) = [line for line in overview_table().splitlines() if f"`{name}`" in line]
    assert ", one seed |" in line


def test_the_overview_marks_the_rows_of_one_seed_and_no_others():
    for line in overview_table().splitlines()[2:]:
        model = line.partition("`")[2].partition("`")[0]
        recipe = next(r for r in RECIPES.values() if r.model == model and r.name in LEDGER_ROWS)
        assert (", one seed |" in line) == (len(LEDGER_ROWS[recipe.name]["runs"]) == 1), line
