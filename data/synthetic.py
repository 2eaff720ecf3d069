"""Sets drawn from a known model, so that what is learnt can be held against the truth.

Numpy's legacy streams, which numpy promises never to change: the same numbers on every machine.

    factor_analysis       z ~ Normal(0, I_2);  x | z ~ Normal(W z, diag(sigma^2)), x in R^3
                          log p(x) = log Normal(0, W W' + diag(sigma^2)); mean -3.9348 (train), -3.9705 (test)
    exponential_gaussian  z ~ Exponential(1);  x | z ~ Normal(z, 1), x in R
                          log p(x) = 1/2 - x + log Phi(x - 1)
    line                  x ~ Normal(intercept + slope * c, sigma^2), covariate c ~ Uniform(0, 5)
                          (c is not centred, so that slope and intercept are correlated a posteriori)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from data.dataset import Source, cut

__all__ = ["FA_SIGMA", "FA_W", "LINE_INTERCEPT", "LINE_SIGMA", "LINE_SLOPE", "SYNTHETIC"]

FA_W = np.array([[-0.5, -1.0], [-1.0, -1.0], [2.0, 0.5]])
FA_SIGMA = np.array([0.4, 0.2, 0.3])
LINE_INTERCEPT, LINE_SLOPE, LINE_SIGMA = 0.5, 1.5, 0.8


def factor_analysis() -> Source:
    """x (2000, 3), train then test. The stream gives z of both first, then the noise of both."""
    stream = np.random.RandomState(42)
    z = stream.standard_normal((2000, 2))
    noise = stream.standard_normal((2000, 3))
    return Source(_float32(z @ FA_W.T + noise * FA_SIGMA), splits=cut(train=1000, test=1000))


def exponential_gaussian() -> Source:
    """x (3500, 1)."""
    stream = np.random.RandomState(0)
    z = stream.exponential(size=(3500, 1))
    return Source(_float32(z + stream.standard_normal(z.shape)), splits=cut(2000, 500, 1000))


def line() -> Source:
    """x (400, 1) and covariates (400, 1)."""
    stream = np.random.RandomState(1)
    c = stream.uniform(0, 5, size=(400, 1))
    x = LINE_INTERCEPT + LINE_SLOPE * c + LINE_SIGMA * stream.standard_normal(c.shape)
    return Source(_float32(x), covariates=_float32(c), splits=cut(train=200, test=200))


def _float32(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))


SYNTHETIC = {"factor_analysis": factor_analysis, "exponential_gaussian": exponential_gaussian, "line": line}
