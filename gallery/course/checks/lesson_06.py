"""Checks of lesson 6: factor analysis, with posterior, M step and bound in closed form."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import data
from gallery.course.compare import WrongError, expect
from gallery.models.factor_analysis import FactorAnalysis

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]

W = torch.tensor(data.synthetic.FA_W)
SIGMA = torch.tensor(data.synthetic.FA_SIGMA)
X = torch.tensor([[0.2, 0.5, -1.0], [-1.3, -1.1, 2.0], [0.4, 0.9, -1.6], [1.0, 0.7, 0.1], [-0.2, 0.3, 0.8]]).double()
V = torch.tensor([[-0.2, -0.3, 0.4], [0.1, -0.4, -0.3]], dtype=torch.float64)
S = torch.tensor([[0.3, 0.1], [0.1, 0.2]], dtype=torch.float64)


def exact() -> FactorAnalysis:
    """Return the gallery's factor analysis at W and SIGMA."""
    pair = FactorAnalysis(3, 2).double()
    with torch.no_grad():
        pair.theta["W"].copy_(W)
        pair.theta["pre_sigma"].copy_(SIGMA.expm1().log())
    return pair


def two(answer: Any, names: str) -> tuple[Any, Any]:
    """Return the two parts of an answer.

    :raises WrongError: if it has not two parts
    """
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise WrongError(f"the answer is of type {type(answer).__name__}, expected {names}")
    return answer[0], answer[1]


def exercise_1(posterior: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
    """The posterior of factor analysis."""
    matrix, covariance = two(posterior(W, SIGMA), "two: the matrix V* and the covariance S*")
    right = exact().posterior(X)
    hint = "S* is the inverse of I + W' Phi^-1 W, and Phi has the variances sigma^2"
    expect(covariance, right.covariance_matrix[0], "S*", "the exact posterior", hint)
    expect(X @ matrix.T, right.mean, "V* x", "the exact posterior", "V* = S* W' Phi^-1, (2, 3)")


def exercise_2(m_step: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
    """The M step of factor analysis."""
    pair, m = exact(), X @ V.T
    pair.m_step({"xx": X.square().mean(0), "xz": X.T @ m / len(X), "zz": S + m.T @ m / len(X)})
    loading, sigma = two(m_step(X, V, S), "two: W and sigma")
    hint = "the second moment of z is m m' + S: the guide is no point"
    expect(loading, pair.theta["W"], "W", "the maximiser of the expected log joint", hint)
    hint = "a standard deviation: the root of the mean of x (x - W m)"
    expect(sigma, pair.sigma, "sigma", "the maximiser of the expected log joint", hint)


def exercise_3(parameters: Callable[[int, int, int], tuple[int, int]]) -> None:
    """The number of parameters that amortisation saves."""
    for n, k, d in ((1000, 2, 3), (60_000, 20, 784)):
        each, shared = two(parameters(n, k, d), "two numbers: for each data point, and amortised")
        what = f"of {n} data points, k = {k}, d = {d}"
        expect(each, 2 * n * k, f"the count {what}", "a mean and a scale for each factor", "it grows with n")
        expect(shared, k * d + k, f"the amortised count {what}", "V and the scales", "it does not depend on n")


def exercise_4(elbo: Callable[..., Tensor]) -> None:
    """The ELBO of a linear guide."""
    pair = exact()
    guide = torch.distributions.MultivariateNormal(X @ V.T, S)
    right = pair.log_evidence(X) - torch.distributions.kl_divergence(guide, pair.posterior(X))
    hint = "the trace of W' Phi^-1 W S belongs to the likelihood, tr S - k - log det S to the KL"
    expect(elbo(X, W, SIGMA, V, S), right, "the ELBO of data point", "log p(x) minus the KL to the posterior", hint)
    best = pair.posterior(X)
    matrix = torch.linalg.solve(torch.linalg.inv(best.covariance_matrix[0]), (W / SIGMA.unsqueeze(1) ** 2).T)
    answer = elbo(X, W, SIGMA, matrix, best.covariance_matrix[0])
    expect(answer, pair.log_evidence(X), "the ELBO at the posterior", "log p(x)", hint)
