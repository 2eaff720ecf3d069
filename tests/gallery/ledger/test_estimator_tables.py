"""Every objective and sampler has a row for each comparison that names it, or is marked as not run."""

import pytest

from gallery.catalogue.lessons import LESSONS
from gallery.comparison.rows import SAMPLERS
from gallery.ledger.estimator_tables import _cell, estimators_table
from inference.fit.objectives import ALIASES, OBJECTIVES

TABLES = dict(zip(("objectives", "samplers"), estimators_table().split("\n\n"), strict=True))


def compared(flag):
    """{name without its numbers: lessons that compare it}, from the commands of the lessons."""
    found = {}
    for lesson, of in LESSONS.items():
        for arguments in of.commands.values():
            for name in arguments.partition(f"--{flag} ")[2].partition(" ")[0].split(","):
                kind = name.partition(":")[0]
                found.setdefault(ALIASES.get(kind, kind), set()).add(lesson)
    return found


@pytest.mark.parametrize(("flag", "registry"), [("objectives", OBJECTIVES), ("samplers", SAMPLERS)])
def test_each_has_its_rows_with_the_seeds_of_the_command_or_is_marked_as_not_run(flag, registry):
    rows = {}
    for line in TABLES[flag].splitlines()[2:]:
        name, lesson, _, seeds, *_ = (cell.strip("` ") for cell in line.strip("|").split(" | "))
        kind = name.partition(",")[0].partition(":")[0]
        kind = ALIASES.get(kind, kind)
        if lesson:
            assert all(f"--seeds {seeds} " in f"{arguments} " for arguments in LESSONS[lesson].commands.values())
        else:
            assert seeds == "not run"
        rows.setdefault(kind, set()).update({lesson} - {""})
    kinds = {form.partition(":")[0] for form in registry}
    assert rows == {kind: compared(flag).get(kind, set()) for kind in kinds}


def test_a_cell_is_the_median_with_the_range_where_it_prints_otherwise():
    rows = [{"elbo": {"value": value}, "passes": 1.2e5} for value in (-3.0, -1.0, -1.5)] + [{"elbo": None}]
    assert _cell(rows, "elbo/value") == "-1.5 [-3, -1]"
    assert _cell(rows, "passes") == "120,000"
    assert _cell(rows, "gap/value") == ""
