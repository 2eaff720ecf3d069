"""A fit ends as diverged where its loss lies far above that of its first step, and not where it lies far below."""

import math

import pytest

from gallery.runs.divergence import check_end
from inference import InferenceError


@pytest.mark.parametrize("first", [1.73, -0.5, 120.0, -2.0e5, None])
def test_a_loss_far_below_the_first_is_that_of_a_density(first):
    """As of images in [0, 1]: at 1.73 in the first step and -1804 in the last."""
    for last in (-1804.0, -1.0e7, first or 0.0):
        check_end(first, last, 41400, "")


@pytest.mark.parametrize(("first", "last"), [(1.73, 2e3), (-0.5, 2e3), (120.0, 1e6), (1.73, math.inf), (1.0, math.nan)])
def test_a_loss_far_above_the_first_is_that_of_no_fit(first, last):
    with pytest.raises(
        InferenceError, match=r"^the fit has diverged: after 9 steps the loss is .*\. kept Use a smaller"
    ):
        check_end(first, last, 9, "kept")
