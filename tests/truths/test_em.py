"""EM: the evidence never falls, and covariates are used."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import data
from gallery.models.factor_analysis import FactorAnalysis
from inference import InferenceError, em


def test_em_never_falls_and_ends_where_the_gradient_is_zero():
    x = data.load("factor_analysis").x.double()
    pair = FactorAnalysis().double()
    evidence = list(em(pair, x, 600))
    assert min(np.diff(evidence)) > -1e-12
    pair.log_evidence(x).mean().backward()
    assert all(p.grad.abs().max() < 1e-5 for p in pair.theta.values())


class Errors(nn.Module):
    """x ~ Normal(slope * given + z, 1), z ~ Normal(0, 1) for each data point: its slope is that of least squares."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def model(self, x, given, total=None):
        """Of x and given, (n,)."""

    def log_evidence(self, x, given):
        return dist.Normal(self.slope * given, 2**0.5).log_prob(x)

    def e_step(self, x, given):
        return {"given": given, "x": x - (x - self.slope * given) / 2}

    def m_step(self, statistics):
        given = statistics["given"]
        self.slope.copy_((statistics["x"] * given).sum() / given.square().sum())


def test_em_takes_covariates():
    given = torch.randn(50, dtype=torch.float64)
    x, pair = 2 * given + torch.randn_like(given), Errors()
    evidence = list(em(pair, x, 60, given))
    assert min(np.diff(evidence)) > -1e-12
    assert pair.slope.item() == pytest.approx((x @ given / (given @ given)).item(), rel=1e-12)
    with pytest.raises(InferenceError, match="conditions on labels or covariates"):
        next(em(pair, x, 1))
