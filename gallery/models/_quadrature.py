"""Posteriors of few coordinates, by the trapezoidal rule in float64.

- `ScalarPosterior`: a number z ~ Normal(0, 1) of each data point (`item_response`).
- `GridPosterior`: a density of a few coordinates with one mode (`logistic_regression`).
- `HierarchyPosterior`: normal effects with a normal mean and an unknown spread (`eight_schools`).

Where an analytic integrand falls to 0 at both ends of the grid, the error is exponentially small in 1 / step. Draws
are nodes of the grid, drawn by their weights, so that their moments are as accurate.

Trefethen and Weideman, The exponentially convergent trapezoidal rule, 2014.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor

__all__ = ["GridPosterior", "HierarchyPosterior", "ScalarPosterior"]

REACH = 24.0  # of a grid, in standard deviations of the normal with the curvature at the mode
LOG_REACH, LOG_STEP = 36.0, 0.125  # of a grid of log(spread / scale of its prior)
NUMBERS = 2**22  # held at a time: bounds the memory
SCALAR_REACH, SCALAR_STEP = 10.0, 0.1  # of the grid of z ~ Normal(0, 1)


class ScalarPosterior(dist.TorchDistribution):
    """p(z | x) of a number z ~ Normal(0, 1) for each data point. Batch shape (n,).

    For a normal posterior of standard deviation s the error falls like exp(-2 (pi s / step)^2): below 1e-12 for s from
    0.12 on.

    :param log_likelihood: log p(x | z) in nats, (..., n) in float64, of z, (..., n)
    :param at_nodes: the same at each z for all data points: (m,) -> (m, n)
    :param like: a tensor with n rows, and dtype and device of moments and draws
    """

    arg_constraints = {}
    support = constraints.real

    def __init__(
        self, log_likelihood: Callable[[Tensor], Tensor], at_nodes: Callable[[Tensor], Tensor], like: Tensor
    ) -> None:
        self.log_likelihood, self.dtype, count = log_likelihood, like.dtype, round(2 * SCALAR_REACH / SCALAR_STEP) + 1
        self.nodes = torch.linspace(-SCALAR_REACH, SCALAR_REACH, count, dtype=torch.float64, device=like.device)
        log_mass = at_nodes(self.nodes) + (_log_normal(self.nodes) + math.log(SCALAR_STEP)).unsqueeze(-1)
        self._log_mass, self._log_evidence = log_mass, log_mass.logsumexp(0)  # (nodes, n), (n,)
        super().__init__(like.shape[:1])

    @property
    def probs(self) -> Tensor:
        """The weights of the nodes, (nodes, n), in float64."""
        return (self._log_mass - self._log_evidence).exp()

    @property
    def log_evidence(self) -> Tensor:
        """log p(x), (n,) in nats."""
        return self._log_evidence.to(self.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        z = value.double()
        return (self.log_likelihood(z) + _log_normal(z) - self._log_evidence).to(value)

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        return self.nodes[dist.Categorical(self.probs.T).sample(torch.Size(sample_shape))].to(self.dtype)

    @property
    def mean(self) -> Tensor:
        return (self.nodes @ self.probs).to(self.dtype)

    @property
    def variance(self) -> Tensor:
        probs = self.probs
        return ((self.nodes.unsqueeze(-1) - self.nodes @ probs).square() * probs).sum(0).to(self.dtype)


def _log_normal(z: Tensor) -> Tensor:
    return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)


class GridPosterior(dist.TorchDistribution):
    """A density over w in R^d, known up to a constant, on a grid that the curvature at its mode scales. No batch shape.

    :param log_joint: log p(w, x) in nats, (m, d) -> (m,), in float64
    :param mode: (d,) in float64
    :param scale_tril: (d, d), the Cholesky factor of minus the inverse second derivative of log_joint at the mode
    :param step: of the grid, in the same units
    :param rows: numbers that log_joint holds for each w
    :param dtype: of moments and draws
    """

    arg_constraints = {}
    support = constraints.real_vector

    def __init__(
        self,
        log_joint: Callable[[Tensor], Tensor],
        mode: Tensor,
        scale_tril: Tensor,
        step: float = 0.5,
        rows: int = 1,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        d, axis = len(mode), torch.arange(-REACH, REACH + step / 2, step, dtype=mode.dtype, device=mode.device)
        u = torch.cartesian_prod(*[axis] * d).reshape(-1, d)
        self.log_joint, self.dtype, self.nodes = log_joint, dtype, mode + u @ scale_tril.T
        log_cell = scale_tril.diagonal().log().sum() + d * math.log(step)
        parts = self.nodes.split(max(1, NUMBERS // max(1, rows)))
        log_mass = torch.cat([log_joint(part) for part in parts]) + log_cell
        self.probs, self._log_evidence = log_mass.softmax(0), log_mass.logsumexp(0)
        super().__init__(torch.Size(), torch.Size((d,)))

    @property
    def log_evidence(self) -> Tensor:
        """log p(x), () in nats."""
        return self._log_evidence.to(self.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        flat = value.double().reshape(-1, value.shape[-1])
        return (self.log_joint(flat) - self._log_evidence).reshape(value.shape[:-1]).to(value)

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        return self.nodes[dist.Categorical(self.probs).sample(torch.Size(sample_shape))].to(self.dtype)

    @property
    def mean(self) -> Tensor:
        return (self.probs @ self.nodes).to(self.dtype)

    @property
    def covariance_matrix(self) -> Tensor:
        """The covariance matrix, (d, d)."""
        centred = self.nodes - self.probs @ self.nodes
        return ((self.probs.unsqueeze(-1) * centred).T @ centred).to(self.dtype)

    @property
    def variance(self) -> Tensor:
        return self.covariance_matrix.diagonal()


class Effects(NamedTuple):
    """What is known of mean and effects if the spread is tau, (m,), each in float64.

    :param log_x: log p(x | tau) in nats, (m,)
    :param mean: E[mu | tau, x], (m,)
    :param sd: standard deviation of mu given tau and x, (m,)
    :param share: tau^2 / (tau^2 + c^2), (m, n): the weight of a measurement in the mean of its effect
    :param effect: E[theta | tau, x], (m, n)
    :param effect_sd: standard deviation of theta given tau and x, (m, n)
    """

    log_x: Tensor
    mean: Tensor
    sd: Tensor
    share: Tensor
    effect: Tensor
    effect_sd: Tensor


class HierarchyPosterior(dist.TorchDistribution):
    """p(mu, tau, theta_1, ..., theta_n | x), an event of 2 + n coordinates in this order. No batch shape.

    mu ~ Normal(0, mu_scale), tau ~ HalfCauchy(tau_scale), theta_i ~ Normal(mu, tau), x_i ~ Normal(theta_i, c_i). Given
    tau all is normal, so that one integral remains, over log tau.

    :param x: (n,)
    :param c: standard deviation of each x given its effect, (n,)
    """

    arg_constraints = {}

    def __init__(self, x: Tensor, c: Tensor, mu_scale: float, tau_scale: float) -> None:
        self.dtype, self.x, self.c = x.dtype, x.double(), c.double()
        self.mu_scale, self.tau_scale = mu_scale, tau_scale
        u = torch.arange(-LOG_REACH, LOG_REACH + LOG_STEP / 2, LOG_STEP, dtype=torch.float64, device=x.device)
        self.tau = tau_scale * u.exp()
        self.known = self.given_tau(self.tau)
        log_mass = self.known.log_x + self._log_prior(self.tau) + self.tau.log() + math.log(LOG_STEP)
        self.probs, self._log_evidence = log_mass.softmax(0), log_mass.logsumexp(0)
        super().__init__(torch.Size(), torch.Size((2 + len(x),)))

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        parts = [constraints.real, constraints.positive, constraints.real]
        return constraints.independent(constraints.cat(parts, dim=-1, lengths=[1, 1, len(self.x)]), 1)

    def _log_prior(self, tau: Tensor) -> Tensor:
        return math.log(2 / (math.pi * self.tau_scale)) - (tau / self.tau_scale).square().log1p()

    def given_tau(self, tau: Tensor) -> Effects:
        """Return what is known of mean and effects if the spread is tau, (m,) in float64."""
        v = tau.square().unsqueeze(-1) + self.c.square()  # (m, n): the variance of x given mu and tau
        precision = self.mu_scale**-2 + (1 / v).sum(-1)
        mean = (self.x / v).sum(-1) / precision
        squares = ((self.x - mean.unsqueeze(-1)).square() / v + (2 * math.pi * v).log()).sum(-1)
        log_x = -0.5 * (squares + (mean / self.mu_scale).square() + (self.mu_scale**2 * precision).log())
        share = tau.square().unsqueeze(-1) / v
        effect = share * self.x + (1 - share) * mean.unsqueeze(-1)
        variance = share * self.c.square() + (1 - share).square() / precision.unsqueeze(-1)
        return Effects(log_x, mean, precision.rsqrt(), share, effect, variance.sqrt())

    @property
    def log_evidence(self) -> Tensor:
        """log p(x_1, ..., x_n), () in nats."""
        return self._log_evidence.to(self.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        mu, tau, theta = value[..., :1].double(), value[..., 1:2].double(), value[..., 2:].double()
        effects = dist.Normal(mu, tau).log_prob(theta) + dist.Normal(theta, self.c).log_prob(self.x)
        shared = dist.Normal(torch.zeros_like(mu), self.mu_scale).log_prob(mu) + self._log_prior(tau)
        return (shared.squeeze(-1) + effects.sum(-1) - self._log_evidence).to(value)

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        k = dist.Categorical(self.probs).sample(torch.Size(sample_shape))
        mu = dist.Normal(self.known.mean[k], self.known.sd[k]).sample().unsqueeze(-1)
        share = self.known.share[k]
        theta = share * self.x + (1 - share) * mu + share.sqrt() * self.c * torch.randn_like(share)
        return torch.cat([mu, self.tau[k].unsqueeze(-1), theta], -1).to(self.dtype)

    @property
    def mean(self) -> Tensor:
        return self._moment(1).to(self.dtype)

    @property
    def variance(self) -> Tensor:
        return (self._moment(2) - self._moment(1).square()).to(self.dtype)

    def _moment(self, power: int) -> Tensor:
        """Return E[value^power], (2 + n,) in float64, for the power 1 or 2."""
        values = torch.cat([self.known.mean.unsqueeze(-1), self.tau.unsqueeze(-1), self.known.effect], -1)
        none = torch.zeros_like(self.tau)
        spread = torch.cat([torch.stack([self.known.sd, none], -1), self.known.effect_sd], -1)
        return self.probs @ (values if power == 1 else values.square() + spread.square())
