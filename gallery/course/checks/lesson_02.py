"""Checks of lesson 2: Bayesian linear regression, with the posterior in closed form."""

from collections.abc import Callable

import torch
from torch import Tensor

from gallery.course.compare import WrongError, expect
from gallery.models.linear_regression import LinearRegression

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]

C = torch.tensor([0.3, 1.1, 2.0, 2.6, 3.9, 4.8], dtype=torch.float64)
X = torch.tensor([0.4, 2.9, 3.1, 5.0, 5.9, 8.1], dtype=torch.float64)
S = torch.tensor([[2.0, -0.9, 0.3], [-0.9, 1.0, 0.2], [0.3, 0.2, 0.7]], dtype=torch.float64)


def exercise_1(posterior: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
    """Mean and covariance matrix of the posterior."""
    exact = LinearRegression().double().posterior(X.unsqueeze(1), C.unsqueeze(1))
    answer = posterior(X, C)
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise WrongError(f"the answer is of type {type(answer).__name__}, expected a pair: mean and covariance matrix")
    covariance: Tensor = exact.covariance_matrix
    hint = "the precision is I / 10^2 + C'C / 0.8^2; its inverse is the covariance"
    expect(answer[1], covariance, "the covariance matrix", "by conjugacy", hint)
    expect(answer[0], exact.mean, "the mean", "by conjugacy", "C'x is divided by the variance of the noise, 0.8^2")


def exercise_2(negative_elbo_of_a_point: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Minus the ELBO of a point."""
    for w in (torch.tensor([0.0, 0.0]).double(), torch.tensor([0.5, 1.5]).double()):
        likelihood = torch.distributions.Normal(w[0] + w[1] * C, 0.8).log_prob(X).sum()
        prior = torch.distributions.Normal(0, 10).log_prob(w).sum()
        what = f"minus the ELBO at w = {w.tolist()} for six points"
        hint = "squares are divided by twice a variance; each of n observations and 2 weights has its constant"
        expect(negative_elbo_of_a_point(w, X, C), -likelihood - prior, what, "-log p(x, w)", hint)


def exercise_3(mean_field_variances: Callable[[Tensor], Tensor]) -> None:
    """Variances of the best mean-field guide."""
    hint = "the diagonal of the precision matrix, not of the covariance: invert first"
    exact = 1 / torch.linalg.inv(S).diagonal()
    expect(mean_field_variances(S), exact, "the variance", "the minimum of the KL", hint)


def exercise_4(mean_field_gap: Callable[[Tensor], Tensor]) -> None:
    """The gap of the best mean-field guide."""
    zero = torch.zeros(3, dtype=torch.float64)
    guide = torch.distributions.MultivariateNormal(zero, (1 / torch.linalg.inv(S).diagonal()).diag())
    exact = torch.distributions.kl_divergence(guide, torch.distributions.MultivariateNormal(zero, S))
    hint = "half of a difference of log determinants, positive; the guide stands first in the KL"
    expect(mean_field_gap(S), exact, "the gap", "the KL of two normals", hint)
    expect(mean_field_gap(zero.exp().diag()), 0.0, "the gap at an identity covariance", "nothing is lost", hint)
