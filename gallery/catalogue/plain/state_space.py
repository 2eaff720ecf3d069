"""z_t ~ Normal(A z_{t-1}, Q), x_t ~ Normal(c' z_t, r^2); the guide is the posterior chain of other parameters."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Estimate -ELBO of x, (n, T), NaN where missing, with a sample of each z_t and its KL in closed form, in nats."""
    theta, observed, values = pair.theta, ~x.isnan(), x.nan_to_num()
    r, z, total = F.softplus(theta["pre_r"]), x.new_zeros(len(x), pair.latent_dim), x.new_zeros(len(x))
    for t, (from_before, b, V) in enumerate(chain(pair.phi, observed, values)):
        mean, L = (from_before @ z.unsqueeze(-1)).squeeze(-1) + b, torch.linalg.cholesky(V)  # of q(z_t | z_{t-1}, x)
        prior = z @ theta["A"].T if t else theta["m"]
        Q = covariance(theta["pre_Q" if t else "pre_P"])
        inverse, off = torch.linalg.inv(Q), mean - prior
        traces = (inverse * V).sum((1, 2)) + ((off @ inverse) * off).sum(1) - len(Q)
        total = total + (traces + Q.logdet() - V.logdet()) / 2  # KL(q(z_t | z_{t-1}, x) || p(z_t | z_{t-1}))
        z = mean + (L @ torch.randn_like(mean).unsqueeze(-1)).squeeze(-1)  # (n, latent_dim)
        residual = (values[:, t] - z @ theta["c"]) / r
        log_likelihood = -(residual.square() / 2 + r.log() + math.log(2 * math.pi) / 2)
        total = total - log_likelihood * observed[:, t]
    return total.mean()


def chain(phi: nn.ParameterDict, observed: Tensor, values: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return F_t, b_t and V_t of q(z_t | z_{t-1}, x) = Normal(F_t z_{t-1} + b_t, V_t) for each step."""
    A, c = phi["A"], phi["c"]
    steps: list[tuple[Tensor, Tensor, Tensor]] = []
    n, d, r_inverse = len(values), len(c), 1 / F.softplus(phi["pre_r"])
    J, h = A.new_zeros(n, d, d), A.new_zeros(n, d)
    for t in reversed(range(values.shape[1])):
        scaled = observed[:, t : t + 1] * r_inverse * c  # (n, latent_dim); 0 where x_t is missing
        J = J + scaled.unsqueeze(2) * scaled.unsqueeze(1)
        h = h + values[:, t : t + 1] * r_inverse * scaled
        Q_inverse = torch.linalg.inv(covariance(phi["pre_Q" if t else "pre_P"]))
        V = torch.linalg.inv(Q_inverse + J)
        from_before = V @ Q_inverse @ A * (t > 0)
        linear = h if t else h + Q_inverse @ phi["m"]
        steps.insert(0, (from_before, (V @ linear.unsqueeze(-1)).squeeze(-1), V))
        J, h = A.T @ J @ from_before, (h.unsqueeze(1) @ from_before).squeeze(1)
    return steps


def covariance(pre: Tensor) -> Tensor:
    """Return L L', where L is the lower triangle of `pre` with the diagonal softplus(...)."""
    L = pre.tril(-1) + F.softplus(pre.diagonal()).diag()
    return L @ L.T
