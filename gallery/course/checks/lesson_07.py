"""Checks of lesson 7: four estimators of a gradient that is known, sample by sample and on average."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal

from gallery.course.compare import expect, expect_mean

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]

Estimator = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
EPS = torch.tensor([-1.5, -0.2, 0.4, 2.0], dtype=torch.float64)
PLACES = ((0.3, 0.9, 2.0), (1.0, 0.5**0.5, 2.0))
"""(m, s, x): away from the posterior, and at it."""


def right(form: str, m: Tensor, s: Tensor, x: Tensor, eps: Tensor) -> Tensor:
    """Return an estimate for each noise value, by automatic differentiation."""
    m = m.clone().requires_grad_()
    z = m + s * eps
    log_p = Normal(0.0, 1.0).log_prob(z) + Normal(z, 1.0).log_prob(x)
    if form == "score":
        return ((log_p - Normal(m, s).log_prob(z)) * (z - m) / s**2).detach()
    if form == "closed":
        value = Normal(z, 1.0).log_prob(x) - torch.distributions.kl_divergence(Normal(m, s), Normal(0.0, 1.0))
    else:
        value = log_p - Normal(m.detach() if form == "path" else m, s).log_prob(z)
    return torch.stack([torch.autograd.grad(one, m, retain_graph=True)[0] for one in value])


def check(estimator: Estimator, form: str, name: str, hint: str) -> None:
    """Compare an estimator with the exact one at each noise value, and its mean with the gradient."""
    noise = torch.randn(20_000, dtype=torch.float64)
    for place in PLACES:
        m, s, x = (torch.tensor(value, dtype=torch.float64) for value in place)
        at = f"m = {place[0]:g}, s = {place[1]:.3g}, x = {place[2]:g}"
        expect_mean(estimator(m, s, x, noise), (x - 2 * m).item(), f"the mean of the {name} at {at}", "x - 2 m", hint)
        exact = right(form, m, s, x, EPS)
        expect(estimator(m, s, x, EPS), exact, f"the {name} at {at}, noise", "by differentiation", hint)


def exercise_1(score: Estimator) -> None:
    """The score function estimator."""
    check(score, "score", "score function estimate", "f is log p(z) + log p(x | z) - log q(z), and s is squared below")


def exercise_2(reparametrised: Estimator) -> None:
    """The reparametrised estimator."""
    hint = "log q(m + s eps) does not depend on m; both terms of log p(x, z) have a slope in z"
    check(reparametrised, "sampled", "reparametrised estimate", hint)


def exercise_3(closed_kl: Estimator) -> None:
    """The estimator with the KL in closed form."""
    hint = "the slope of log p(x | z) at z = m + s eps, and that of the KL, (m^2 + s^2 - 1) / 2 - log s, in m"
    check(closed_kl, "closed", "estimate with the closed KL", hint)


def exercise_4(path: Estimator) -> None:
    """The path derivative."""
    check(path, "path", "path derivative", "it is 0 at every noise value where q is the posterior")
