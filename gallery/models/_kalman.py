"""Exact inference in a linear Gaussian chain: the Kalman filter, and the posterior as a Markov chain.

All functions take x, (n, T), with NaN where a step is missing, and the matrices of

    z_1 ~ Normal(m, P),  z_t ~ Normal(A z_{t-1}, Q),  x_t ~ Normal(c' z_t, r^2).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal

__all__ = ["Matrices", "filter_forward", "posterior_chain", "smooth"]


class Matrices(NamedTuple):
    """m, c: (d,); A: (d, d); P_tril and Q_tril, the triangular factors of P and Q: (d, d); r: a number."""

    m: Tensor
    P_tril: Tensor
    A: Tensor
    Q_tril: Tensor
    c: Tensor
    r: Tensor


def filter_forward(x: Tensor, of: Matrices) -> tuple[Tensor, Tensor, Tensor]:
    """Run the Kalman filter.

    :return: log p(x_t | x_1:t-1) in nats, 0 where x_t is missing, (n, T); mean and covariance of
        p(z_t | x_1:t), (n, T, d) and (n, T, d, d)
    """
    m, P_tril, A, Q_tril, c, r = of
    mean, covariance, steps = m.expand(len(x), -1), (P_tril @ P_tril.T).expand(len(x), -1, -1), []
    for x_t in x.unbind(1):
        observed, zx = ~x_t.isnan(), covariance @ c  # Cov(z_t, x_t | x_1:t-1), (n, d)
        error, variance = x_t.nan_to_num() - mean @ c, zx @ c + r.square()
        log_density = Normal(0.0, variance.sqrt()).log_prob(error).where(observed, 0.0)
        gain = zx * (observed / variance).unsqueeze(-1)
        mean = mean + gain * error.unsqueeze(-1)
        covariance = covariance - gain.unsqueeze(-1) * zx.unsqueeze(-2)
        steps.append((log_density, mean, covariance))
        mean, covariance = mean @ A.T, A @ covariance @ A.T + Q_tril @ Q_tril.T
    log_densities, means, covariances = (torch.stack(values, 1) for values in zip(*steps, strict=True))
    return log_densities, means, covariances


def posterior_chain(x: Tensor, of: Matrices) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Compute F_t, b_t and V_t of p(z_t | z_{t-1}, x) = Normal(F_t z_{t-1} + b_t, V_t), from the last step back.

    :return: for t = 1, ..., T: F_t, (n, d, d), 0 at t = 1; b_t, (n, d); V_t, (n, d, d)
    """
    m, P_tril, A, Q_tril, c, r = of
    P_inverse, Q_inverse = torch.cholesky_inverse(P_tril), torch.cholesky_inverse(Q_tril)
    weights, values, steps = (~x.isnan()).to(x) / r.square(), x.nan_to_num(), []
    J, h = x.new_zeros(len(x), len(c), len(c)), x.new_zeros(len(x), len(c))
    for t in reversed(range(x.shape[1])):
        J = J + weights[:, t, None, None] * c.outer(c)
        h = h + (weights[:, t] * values[:, t]).unsqueeze(-1) * c
        precision, linear = (Q_inverse + J, h) if t else (P_inverse + J, h + P_inverse @ m)
        V = torch.linalg.inv(precision)
        F = V @ (Q_inverse @ A if t else torch.zeros_like(A))
        steps.append((F, (V @ linear.unsqueeze(-1)).squeeze(-1), V))
        J, h = A.T @ J @ F, (h.unsqueeze(-2) @ F).squeeze(-2)
    return steps[::-1]


def smooth(x: Tensor, of: Matrices) -> tuple[Tensor, Tensor, Tensor]:
    """Run the chain of the posterior forward.

    :return: E[z_t | x], (n, T, d); Cov(z_t | x), (n, T, d, d); Cov(z_t, z_{t-1} | x), (n, T, d, d), 0 at t = 1
    """
    mean, covariance, steps = of.m.expand(len(x), -1), torch.zeros_like(of.A).expand(len(x), -1, -1), []
    for F, b, V in posterior_chain(x, of):
        cross = F @ covariance
        mean, covariance = (F @ mean.unsqueeze(-1)).squeeze(-1) + b, cross @ F.mT + V
        steps.append((mean, covariance, cross))
    means, covariances, crosses = (torch.stack(values, 1) for values in zip(*steps, strict=True))
    return means, covariances, crosses
