"""Fit a member of the guide's family to each data point."""

from collections.abc import Callable
from contextlib import suppress

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints, transform_to

from inference.errors import InferenceError
from inference.fit.graph import UntraceableError, traced
from inference.pairs.run import log_joint, repeat
from inference.pairs.sites import INDEPENDENT, unwrap

BETAS = (0.9, 0.95)  # of Adam: a steep start is soon forgotten


TRACE_STEPS = 100  # below, tracing a step takes longer than it saves


Family = Callable[[list[Tensor]], dist.Distribution]


def family(q: dist.Distribution) -> tuple[list[Tensor], Family]:
    """(unbounded parameters, each of batch shape (n, ...); the function from them to a distribution): q and its like.

    :raises InferenceError: if q is not told by parameters that can be varied, as that of a flow
    """
    if isinstance(q, dist.Independent):
        inner, make = family(q.base_dist)
        return inner, lambda free: make(free).to_event(q.reinterpreted_batch_ndims)
    if isinstance(q, dist.MultivariateNormal):
        return _normal(q.loc, q.scale_tril, (q.scale_tril != 0).flatten(0, -3).any(0))
    bounds = q.arg_constraints
    if not bounds or not q.has_rsample or {"probs", "logits"} <= bounds.keys():
        raise InferenceError(f"{type(q).__name__} has no parameters that could be fitted for each datum.")
    transforms = {name: transform_to(bound) for name, bound in bounds.items()}

    def make_another(free: list[Tensor]) -> dist.Distribution:
        return type(q)(**{name: t(value) for (name, t), value in zip(transforms.items(), free, strict=True)})

    return [t.inv(getattr(q, name)) for name, t in transforms.items()], make_another


def _normal(loc: Tensor, L: Tensor, used: Tensor) -> tuple[list[Tensor], Family]:
    """The normals Normal(loc, L L'), each (n, d, ...), whose L is zero where it is not `used`, (d, d)."""
    to_factor = transform_to(constraints.lower_cholesky)
    return [loc, to_factor.inv(L)], lambda free: dist.MultivariateNormal(free[0], scale_tril=to_factor(free[1]) * used)


def full_covariance(q: dist.Distribution) -> tuple[list[Tensor], Family] | None:
    """The family of normals of any covariance, from a normal q of several coordinates that is diagonal; else None."""
    base = unwrap(q, INDEPENDENT)
    if len(q.event_shape) != 1 or q.event_shape[0] < 2 or not isinstance(base, dist.Normal | dist.MultivariateNormal):
        return None
    L = base.scale.diag_embed() if isinstance(base, dist.Normal) else base.scale_tril
    if L.tril(-1).any():
        return None
    return _normal(base.loc, L, torch.ones_like(L[0]).tril())


def log_w(pair: nn.Module, args: tuple, name: str, q: dist.Distribution, at: dist.Distribution, k: int) -> Tensor:
    """(k, n) log-weights of k draws of q for each datum, with the log-density of `at`, which is equal to q."""
    z = q.rsample((k,))
    prior, likelihood = log_joint(pair, repeat(args, k), {name: z.flatten(0, 1)})
    return (prior + likelihood).view(k, -1) - at.log_prob(z)


def fit_per_data_point(
    pair: nn.Module, args: tuple, name: str, free: list[Tensor], make: Family, k: int, steps: int, lr: float
) -> dist.Distribution:
    """The member of the family that Adam ends at when it ascends the ELBO of every datum, each at parameters of its
    own, from `free`, with k draws for each in every step and a rate that falls to 0."""

    def gradients(*free: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad(), pyro.validation_enabled(False):
            free = [p.detach().requires_grad_() for p in free]
            elbo = log_w(pair, args, name, make(free), make([p.detach() for p in free]), k).mean(0)
            return torch.autograd.grad(-elbo.sum(), free)

    free = [p.clone(memory_format=torch.contiguous_format) for p in free]
    if steps >= TRACE_STEPS:
        with suppress(UntraceableError):
            gradients = traced(gradients, tuple(free))
    optimiser = torch.optim.Adam(free, lr, BETAS)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = lr * (1 - step / steps)
        for p, gradient in zip(free, gradients(*free), strict=True):
            p.grad = gradient
        optimiser.step()
    return make(free)
