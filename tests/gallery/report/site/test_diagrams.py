"""The diagrams of a page have the symbols of the story in place of the argument `given`."""

import pytest

from gallery.report.site.diagrams import diagrams


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
