"""The figure of the two directions of the KL."""

import pytest
from figure_cases import ExactGuide

from gallery.figures import (
    save,
    two_kls,
    two_kls_fits,
    two_kls_of,
)
from gallery.models import MODELS


def test_two_kls_refuses_scales_that_are_not_positive_and_is_drawn(tmp_path):
    with pytest.raises(ValueError, match="positive"):
        two_kls_fits(t=0.0)
    for x, labels in (
        (1.5, ["exact posterior", "min KL(q ‖ p)", "min KL(p ‖ q)", "equally good"]),
        (-1.0, ["exact posterior", "min KL(q ‖ p)", "min KL(p ‖ q)"]),
    ):
        fig = two_kls(x=x)
        save(fig, tmp_path / "two.png")
        texts = [text.get_text() for text in fig.legends[0].get_texts()]
        assert len(texts) == len(labels)
        assert all(text.startswith(label) for text, label in zip(texts, labels, strict=True))
        assert len(fig.axes[0].lines) == len(labels) - 1


def test_two_kls_of_a_pair_are_those_of_its_posterior():
    pair = MODELS["squared_gaussian"](s=1.0, t=0.5)
    by_formula, by_posterior = two_kls(1.0, 0.5, 1.5), two_kls_of(pair, 1.5)
    words = [[text.get_text() for text in fig.legends[0].get_texts()] for fig in (by_formula, by_posterior)]
    assert words[0] == words[1]
    assert any("equally good, on the left" in text for text in words[0])
    assert two_kls_of(pair, -1.0) is None  # one hump
    assert two_kls_of(ExactGuide()) is None
