"""Pareto-smoothed weights, against ArviZ and known tails."""

import math

import pytest
import torch

from inference import pareto_k
from inference.fit.pareto import pareto_smooth


@pytest.mark.parametrize("shape", [0.2, 0.9])
@pytest.mark.parametrize("draws", [25, 400, 4000])
def test_smoothed_weights_are_those_of_arviz(shape, draws):
    arviz = pytest.importorskip("arviz", reason="pip install '.[arviz]'")
    log_w = -shape * torch.rand(draws, dtype=torch.float64).log() - 300
    smooth, k = pareto_smooth(log_w)
    expected, k_of_arviz = arviz.psislw(log_w.numpy(), normalize=False)
    assert k == pytest.approx(float(k_of_arviz), abs=1e-8)
    assert torch.allclose(smooth, torch.as_tensor(expected), rtol=0, atol=1e-8)
    assert (smooth[log_w.argsort()].diff() >= 0).all()
    assert pareto_k(log_w.unsqueeze(1)).item() == k


def test_weights_without_a_tail_stay():
    equal = torch.full((100,), 3.0)
    smooth, k = pareto_smooth(equal)
    assert k == -math.inf
    assert torch.equal(smooth, equal)
    one = torch.randn(400)
    one[7] += 2000.0
    smooth, k = pareto_smooth(one)
    assert k == math.inf
    assert torch.equal(smooth, one)


def test_smoothing_lowers_the_variance_of_a_mean():
    """w = u^-0.6 has the mean 2.5 and no variance."""
    log_w = -0.6 * torch.rand(400, 500, dtype=torch.float64).log()
    smooth = torch.stack([pareto_smooth(column)[0] for column in log_w.unbind(1)], 1)
    raw, smoothed = (values.exp().mean(0) for values in (log_w, smooth))
    assert smoothed.std() < raw.std()
