"""Checks of lesson 3: exponential guides of the exponential-Gaussian model, whose evidence is known."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gallery.course.compare import WrongError, expect, number_of
from gallery.models.exponential_gaussian import ExponentialGaussian

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]

X = (-1.0, 0.5, 2.0)
Z = torch.linspace(0, 60, 600_001, dtype=torch.float64)


def of(value: float) -> Tensor:
    """Return a number in float64."""
    return torch.tensor(value, dtype=torch.float64)


def log_evidence(x: float) -> Tensor:
    """Return log p(x)."""
    return ExponentialGaussian().log_evidence(of(x).reshape(1, 1))[0]


def exact_elbo(rate: float, x: float) -> float:
    """Return the ELBO of an exponential guide, by quadrature."""
    log_p = -Z - 0.5 * (x - Z).square() - 0.5 * math.log(2 * math.pi)
    log_q = math.log(rate) - rate * Z
    return torch.trapezoid(log_q.exp() * (log_p - log_q), Z).item()


def exercise_1(log_joint: Callable[[Tensor, Tensor], Tensor]) -> None:
    """The log joint density."""
    for x, z in ((2.0, 0.0), (2.0, 1.5), (-1.0, 0.3)):
        exact = -z + torch.distributions.Normal(z, 1.0).log_prob(of(x))
        hint = "the prior of z is an Exponential(1), whose log density is -z; the normal has the constant log(2 pi) / 2"
        expect(log_joint(of(x), of(z)), exact, f"log p(x, z) at x = {x:g}, z = {z:g}", "log prior + likelihood", hint)


def exercise_2(elbo: Callable[[Tensor, Tensor], Tensor]) -> None:
    """The ELBO of an exponential guide."""
    for rate, x in ((1.0, 2.0), (2.0, 0.5), (0.7, -1.0)):
        answer, what = elbo(of(rate), of(x)), f"the ELBO at rate {rate:g}, x = {x:g}"
        if number_of(answer, what).numel() == 1 and float(answer) > float(log_evidence(x)) + 1e-9:
            raise WrongError(
                f"{what} is {float(answer):.6g}, above the log evidence {float(log_evidence(x)):.6g}: no bound. "
                f"Expected {exact_elbo(rate, x):.6g} (exact by quadrature): check the sign of the entropy"
            )
        hint = "the entropy of the guide is 1 - log(rate); E[z] = 1 / rate, E[z^2] = 2 / rate^2"
        expect(answer, exact_elbo(rate, x), what, "exact by quadrature", hint)


def exercise_3(best_rate: Callable[[Tensor], Tensor]) -> None:
    """The best rate of an exponential guide."""
    for x in X:
        rate = (1 - x + math.sqrt((x - 1) ** 2 + 8)) / 2
        hint = "the positive root of rate^2 + (x - 1) rate - 2 = 0"
        expect(best_rate(of(x)), rate, f"the best rate at x = {x:g}", "where the ELBO is greatest", hint)


def exercise_4(gap: Callable[[Tensor, Tensor], Tensor]) -> None:
    """The gap of an exponential guide."""
    for rate, x in ((1.0, 2.0), (2.0, 0.5)):
        exact = log_evidence(x).item() - exact_elbo(rate, x)
        hint = "log evidence minus ELBO, in this order: a KL is not negative"
        expect(gap(of(rate), of(x)), exact, f"the gap at rate {rate:g}, x = {x:g}", "exact by quadrature", hint)
