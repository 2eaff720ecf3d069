"""Checks of lesson 9: collapse, free bits, gaps, weights and grey pixels, each against an exact value."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from gallery.course.compare import expect, parts

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4", "exercise_5"]


def exercise_1(best_loading: Callable[[float, float, float], float]) -> None:
    """The best loading of the smallest VAE."""
    for variance, sigma, beta in ((4.0, 1.0, 1.0), (4.0, 1.5, 1.5), (2.0, 1.0, 3.0)):
        exact = max(0.0, variance - beta * sigma**2) ** 0.5
        what = f"w at variance {variance:g}, sigma {sigma:g}, beta {beta:g}"
        hint = "w^2 + beta sigma^2 is the variance; sigma is squared, w is not; 0 beyond the threshold"
        expect(best_loading(variance, sigma, beta), exact, what, "the maximum of the objective", hint)


def exercise_2(free_bits: Callable[[Tensor, float], Tensor]) -> None:
    """The charge with free bits."""
    kl = torch.tensor([[0.0, 2.0, 0.2], [1.0, 3.0, 0.1]], dtype=torch.float64)
    hint = "average over data points before the maximum: the minimum holds for each coordinate, not for each data point"
    for nats in (0.3, 0.7, 0.0):
        exact = kl.mean(0).clamp(min=nats).sum()
        expect(free_bits(kl, nats), exact, f"the charge at {nats:g} free nats", "sum of max(nats, KL_j)", hint)


def exercise_3(gaps: Callable[[Tensor, float, float], Any]) -> None:
    """Approximation and amortisation gap."""
    x = torch.tensor([-1.0, 0.5, 2.0, 3.0], dtype=torch.float64)
    posterior = Normal(x / 2, 0.5**0.5)
    for a, s in ((0.5, 1.0), (0.3, 0.5), (0.6, 0.5**0.5)):
        answer = parts(gaps(x, a, s), "approximation gap", "amortisation gap")
        family = kl_divergence(Normal(x / 2, s), posterior).mean()
        total = kl_divergence(Normal(a * x, s), posterior).mean()
        at = f"at a = {a:g}, s = {s:.3g}"
        hint = "the KL from Normal(x / 2, s): it does not depend on a"
        expect(answer[0], family, f"the approximation gap {at}", "in closed form", hint)
        hint = "a mean over x of (a - 1/2)^2 x^2; the two gaps add up to the KL"
        expect(answer[1], total - family, f"the amortisation gap {at}", "in closed form", hint)


def exercise_4(effective_sample_size: Callable[[Tensor], Tensor]) -> None:
    """The effective sample size."""
    w = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    exact, hint = w.sum() ** 2 / (w**2).sum(), "(sum w)^2 / sum w^2, with w = exp(log_w)"
    expect(effective_sample_size(w.log()), exact, "the effective size of weights 1, 2, 0.5, 3", "by definition", hint)
    hint = "subtract the largest, or use logsumexp: exp overflows"
    expect(effective_sample_size(w.log() + 1000), exact, "the effective size of weights near e^1000", "the same", hint)


def exercise_5(mass: Callable[[Tensor], Tensor]) -> None:
    """The mass of a Bernoulli on grey pixels."""
    p, x = torch.tensor([0.1, 0.5, 0.9, 0.999], dtype=torch.float64), torch.linspace(0, 1, 20_001, dtype=torch.float64)
    exact = torch.trapezoid(p.unsqueeze(1) ** x * (1 - p.unsqueeze(1)) ** (1 - x), x)
    expect(mass(p), exact, "the integral at p = 0.1, 0.5, 0.9, 0.999", "by quadrature", "at p = 1/2 the limit is 1/2")
