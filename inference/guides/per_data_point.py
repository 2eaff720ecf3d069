"""Fit a member of the guide's family to each data point."""

from collections.abc import Callable
from contextlib import suppress

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints, transform_to

from inference.errors import InferenceError
from inference.fit.graph import UntraceableError, traced
from inference.pairs.pair import Pair
from inference.pairs.properties import is_reparametrised
from inference.pairs.run import log_joint, repeat
from inference.pairs.sites import INDEPENDENT, unwrap

__all__ = ["Family", "family", "fit_per_data_point", "full_covariance", "log_weights_of"]

ADAM_BETAS = (0.9, 0.95)  # a short memory of the steep start
TRACE_STEPS = 100  # below, tracing a step takes longer than it saves

Family = Callable[[list[Tensor]], dist.TorchDistribution]
"""Unbounded parameters, each of batch shape (n, ...), to a distribution."""


def family(q: dist.TorchDistribution, other: dist.TorchDistribution | None = None) -> tuple[list[Tensor], Family]:
    """Return the unbounded parameters of q, each of batch shape (n, ...), and the family that q is a member of.

    :param other: another member: an entry of a Cholesky factor is fixed at zero if it is zero in both
    :raises InferenceError: if q has no free parameters, as the distribution of a flow
    """
    if isinstance(q, dist.Independent):
        inner, make = family(q.base_dist, getattr(other, "base_dist", None))
        return inner, lambda free: make(free).to_event(q.reinterpreted_batch_ndims)
    if isinstance(q, dist.MultivariateNormal):
        factors = [q.scale_tril, *([other.scale_tril] if isinstance(other, dist.MultivariateNormal) else [])]
        return _normal(q.loc, q.scale_tril, torch.stack([(L != 0).flatten(0, -3).any(0) for L in factors]).any(0))
    bounds = q.arg_constraints
    if not bounds or not is_reparametrised(q) or {"probs", "logits"} <= bounds.keys():
        raise InferenceError(
            f"the guide draws from {type(q).__name__}, which has no parameters to fit for each data point; expected a "
            "reparametrised distribution with parameters, such as Normal."
        )
    transforms = {name: transform_to(bound) for name, bound in bounds.items()}

    def make_another(free: list[Tensor]) -> dist.TorchDistribution:
        return type(q)(**{name: t(value) for (name, t), value in zip(transforms.items(), free, strict=True)})

    return [t.inv(getattr(q, name)) for name, t in transforms.items()], make_another


def _normal(loc: Tensor, L: Tensor, used: Tensor) -> tuple[list[Tensor], Family]:
    """Return the family of Normal(loc, L L'), loc (n, d), L (n, d, d), with L zero where it is not `used`, (d, d)."""
    to_factor = transform_to(constraints.lower_cholesky)
    return [loc, to_factor.inv(L)], lambda free: dist.MultivariateNormal(free[0], scale_tril=to_factor(free[1]) * used)


def full_covariance(q: dist.TorchDistribution) -> tuple[list[Tensor], Family] | None:
    """Return the family of normals of any covariance that contains q, if q is a diagonal normal of several coordinates.

    None for any other q.
    """
    base = unwrap(q, INDEPENDENT)
    if len(q.event_shape) != 1 or q.event_shape[0] < 2 or not isinstance(base, dist.Normal | dist.MultivariateNormal):
        return None
    L = base.scale.diag_embed() if isinstance(base, dist.Normal) else base.scale_tril
    if L.tril(-1).any():
        return None
    return _normal(base.loc, L, torch.ones_like(L[0]).tril())


def log_weights_of(
    pair: Pair,
    args: tuple[Tensor, ...],
    name: str,
    q: dist.TorchDistribution,
    density: dist.TorchDistribution,
    k: int,
    rows: Tensor | None = None,
) -> Tensor:
    """Compute the log-weights of k draws of q for each data point, (k, n) in nats.

    :param name: of the one latent site
    :param density: a distribution equal to q, whose log-density is taken; detached, its gradient drops the score
    :param rows: (n,) index of each data point; 0, 1, ... without it
    """
    z = q.rsample((k,))
    indices = torch.arange(len(args[0]), device=args[0].device) if rows is None else rows
    prior, likelihood = log_joint(pair, repeat(args, k), {name: z.flatten(0, 1)}, indices.repeat(k))
    return (prior + likelihood).view(k, -1) - density.log_prob(z)


def fit_per_data_point(
    pair: Pair,
    args: tuple[Tensor, ...],
    name: str,
    free: list[Tensor],
    make: Family,
    k: int,
    steps: int,
    lr: float,
    rows: Tensor | None = None,
) -> dist.TorchDistribution:
    """Fit a member of the family to each data point, by Adam on its ELBO.

    :param name: of the one latent site
    :param free: unbounded parameters to start from, (n, ...)
    :param k: draws for each data point in every step
    :param lr: learning rate of the first step; it falls linearly to 0
    :param rows: (n,) index of each data point; 0, 1, ... without it
    """

    def gradients(*free: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad(), pyro.validation_enabled(False):
            leaves = [p.detach().requires_grad_() for p in free]
            fixed = make([p.detach() for p in leaves])
            elbo = log_weights_of(pair, args, name, make(leaves), fixed, k, rows).mean(0)
            return torch.autograd.grad(-elbo.sum(), leaves)

    free = [p.clone(memory_format=torch.contiguous_format) for p in free]
    if steps >= TRACE_STEPS:
        with suppress(UntraceableError):
            gradients = traced(gradients, tuple(free))
    optimiser = torch.optim.Adam(free, lr, ADAM_BETAS)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = lr * (1 - step / steps)
        for p, gradient in zip(free, gradients(*free), strict=True):
            p.grad = gradient
        optimiser.step()
    return make(free)
