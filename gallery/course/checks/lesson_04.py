"""Checks of lesson 4: both KLs of normals from the posterior of the squared Gaussian, by quadrature."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gallery.course.compare import WrongError, expect
from gallery.models._distributions import SquaredGaussianPosterior

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]

Z = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
LEAST = 0.69375
"""KL(q || p) of the best normal at x = 9; a test computes it."""


def posterior(x: float) -> SquaredGaussianPosterior:
    """Return p(z | x)."""
    return SquaredGaussianPosterior(torch.tensor(x, dtype=torch.float64).reshape(1), 1.0, 0.5)


def exercise_1(log_posterior: Callable[[float], Tensor]) -> None:
    """The posterior on the grid."""
    for x in (0.5, 4.0):
        answer = log_posterior(x)
        mass = torch.trapezoid(torch.as_tensor(answer).double().exp(), Z)
        hint = "subtract the log of the integral of the joint density"
        expect(mass, 1.0, f"the integral of the posterior at x = {x:g}", "a density", hint)
        near = (Z.abs() < 3).nonzero()[::100, 0]
        hint = "the scale of x given z is 0.5, a standard deviation"
        expect(answer[near], posterior(x).log_prob(Z[near]), f"log p(z | x) at x = {x:g}", "by quadrature", hint)


def exercise_2(kls: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
    """The KL in both directions."""
    q, p = torch.distributions.Normal(0.5, 1.0), torch.distributions.Normal(0.0, 0.8)
    answer = kls(q.log_prob(Z), p.log_prob(Z))
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise WrongError(f"the answer is of type {type(answer).__name__}, expected two numbers: KL(q || p), KL(p || q)")
    exact = [torch.distributions.kl_divergence(a, b).item() for a, b in ((q, p), (p, q))]
    hint = "the density in front of the logarithm is the first of the two"
    for name, value, right in zip(("KL(q || p)", "KL(p || q)"), answer, exact, strict=True):
        expect(value, right, f"{name} of Normal(0.5, 1) and Normal(0, 0.8)", "in closed form", hint)


def exercise_3(forward_fit: Callable[[float], tuple[Tensor, Tensor]]) -> None:
    """The normal of least forward KL."""
    for x in (0.5, 9.0):
        mean, scale = forward_fit(x)
        sd = posterior(x).variance.sqrt().item()
        expect(mean, 0.0, f"the mean at x = {x:g}", "by symmetry", "the mean of the posterior, not one of its modes")
        expect(scale, sd, f"the scale at x = {x:g}", "by quadrature", "a standard deviation, of both peaks together")


def exercise_4(least_reverse_kl: float) -> None:
    """The least reverse KL at x = 9."""
    hint = f"near log 2 = {math.log(2):.4f}; the expectation is under the guide, which sits on one peak"
    expect(least_reverse_kl, LEAST, "the least KL(q || p)", "by minimisation", hint, tolerance=1e-3)
