"""Dropout: masks of the right distribution, independent, and the same for the same seed."""

import math

import pytest
import torch

from gallery.models._nn import Dropout, mlp

DRAWS, UNITS, P = 4000, 50, 0.3


@pytest.fixture
def masks():
    torch.manual_seed(0)
    layer = Dropout(P)
    return torch.stack([layer(torch.ones(UNITS, dtype=torch.float64)) for _ in range(DRAWS)])


def test_units_are_dropped_with_probability_p_and_the_others_scaled(masks):
    assert torch.equal(masks.unique(), torch.tensor([0, 1 / (1 - P)], dtype=torch.float64))
    error = math.sqrt(P / (1 - P) / masks.numel())
    assert abs(masks.mean().item() - 1) < 4 * error


def test_masks_are_independent_between_units_and_steps(masks):
    kept = (masks - 1) / math.sqrt(P / (1 - P))  # mean 0, variance 1
    neighbours = {"units": kept[:, 1:] * kept[:, :-1], "steps": kept[1:] * kept[:-1]}
    for products in neighbours.values():
        assert abs(products.mean().item()) < 4 / math.sqrt(products.numel())


def test_the_same_seed_gives_the_same_mask_in_every_type():
    layer, drawn = Dropout(P), []
    for dtype in (torch.float32, torch.float64):
        torch.manual_seed(1)
        drawn.append(layer(torch.ones(UNITS, dtype=dtype)) > 0)
    assert torch.equal(*drawn)


def test_gradient_and_evaluation():
    layer, h = Dropout(P), torch.ones(UNITS, requires_grad=True)
    out = layer(h)
    out.sum().backward()
    assert torch.equal(h.grad, out.detach())  # 0, or 1 / (1 - p)
    assert layer.eval()(h) is h
    assert [type(part).__name__ for part in mlp((2, 3), dropout=P)] == ["Linear", "ReLU", "Dropout"]
