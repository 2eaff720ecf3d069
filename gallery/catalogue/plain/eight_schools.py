"""mu ~ Normal, tau ~ HalfCauchy, eta_i ~ Normal, x_i ~ Normal(mu + tau eta_i, c_i); q(mu, tau) p(eta | mu, tau, x)."""

import math

import torch
from torch import Tensor

from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor) -> Tensor:
    """Estimate -ELBO / n of all x, (n, 1), with errors, (n, 1), with one mu, tau and eta, in nats per data point."""
    x, c = x.squeeze(-1), given.squeeze(-1)
    m, log_s = pair.q["m"], pair.q["log_s"]
    first, second, eps = torch.randn_like(m[0]), torch.randn_like(m[1]), torch.randn_like(x)
    mu = m[0] + log_s[0].exp() * first
    log_tau = m[1] + pair.q["a"] * first + log_s[1].exp() * second
    tau = log_tau.exp()
    width = (tau.square() + c.square()).sqrt()
    eta = tau * (x - mu) / width.square() + c / width * eps  # from its exact posterior, given mu and tau
    log_q = (
        -(first.square() + second.square()) / 2 - log_s.sum() - log_tau - (eps.square() / 2 + (c / width).log()).sum()
    )
    log_prior = -(mu / pair.mu_scale).square() / 2 - math.log(pair.mu_scale) - eta.square().sum() / 2
    half_cauchy = math.log(2 / (math.pi * pair.tau_scale)) - (tau / pair.tau_scale).square().log1p()
    log_likelihood = -((x - mu - tau * eta) / c).square() / 2 - c.log() - math.log(2 * math.pi) / 2
    normal = math.log(2 * math.pi) / 2  # of log tau in the guide; the other constants of guide and prior cancel
    return (log_q - normal - log_prior - half_cauchy - log_likelihood.sum()) / len(x)
