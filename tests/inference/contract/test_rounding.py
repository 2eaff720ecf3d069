"""Densities that change by rounding alone do not depend on what was changed."""

import torch

from inference.contract.fit import equal_but_for_rounding


def test_logits_that_all_get_the_same_number_are_equal_but_for_rounding():
    logits = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    before, moved = (of.log_softmax(-1) for of in (logits, logits + 0.3))
    assert not torch.equal(before, moved)
    assert equal_but_for_rounding(before, moved)
    assert not equal_but_for_rounding(before, before + 1e-4)
    assert not equal_but_for_rounding(before, before[:, :1])
