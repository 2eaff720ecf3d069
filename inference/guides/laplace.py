"""Laplace's approximation: the normal distribution with the mode and the curvature of a density.

    Normal(m, H^-1),    m = argmax log p(u),    H = -d^2 log p / du du' at m.

Every row is a separate density. From the end of an optimiser, Newton's method takes it to its mode: along eigenvectors
of H, each divided by the absolute value of its eigenvalue, so that a step ascends where H is not positive too (Dauphin
and others, Identifying and attacking the saddle point problem in high-dimensional non-convex optimization, 2014), and
halved until it does. The mode of a normal density is reached in one step.

    MacKay, Information theory, inference, and learning algorithms, 2003, chapter 27.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from inference.errors import InferenceError

__all__ = ["laplace"]

MAX_NEWTON_STEPS = 100  # few are needed
MAX_HALVINGS = 12
CONVERGED_NATS = 1e-3  # predicted increase of log p, below which the mode is one step away

Density = Callable[[Tensor], Tensor]


def _derivatives(log_p: Density, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute (log p, its gradient, H) of every row: (b,), (b, d), (b, d, d)."""
    with torch.enable_grad():
        u = u.detach().requires_grad_()
        value = log_p(u)
        (gradient,) = torch.autograd.grad(value.sum(), u, create_graph=True)
        rows = [
            torch.autograd.grad(g.sum(), u, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
            for g in gradient.unbind(-1)
        ]
    H = -torch.stack(rows, dim=-2)
    return value.detach(), gradient.detach(), (H + H.mT) / 2


def laplace(log_p: Density, u: Tensor) -> tuple[Tensor, Tensor]:
    """Compute (m, L) of every row, (b, d) and (b, d, d) with L L' = H^-1, from starts u, (b, d).

    :param log_p: the log-density, up to a constant, of every row: (b, d) to (b,)
    :raises InferenceError: if a density has no curvature in some direction where its ascent ends
    """
    last = False
    for _ in range(MAX_NEWTON_STEPS):
        value, gradient, H = _derivatives(log_p, u)
        size, V = torch.linalg.eigh(H)
        least = torch.finfo(u.dtype).eps * size.abs().amax(-1, keepdim=True)
        if last:
            break
        step = (V @ ((V.mT @ gradient.unsqueeze(-1)) / size.abs().clamp(min=least).unsqueeze(-1))).squeeze(-1)
        better = torch.zeros_like(value, dtype=torch.bool)
        for halving in range(MAX_HALVINGS):
            further = u + step / 2**halving
            rises = (log_p(further) > value) & ~better
            u, better = torch.where(rises.unsqueeze(-1), further, u), better | rises
        if not better.any():
            # log p is rounded more than its gradient: one last step where the gradient predicts almost no increase
            small = (gradient * step).sum(-1, keepdim=True) < CONVERGED_NATS
            u, last = torch.where(small, u + step, u), True
    flat = (size.amin(-1) <= least.squeeze(-1)).sum().item()
    if flat:
        raise InferenceError(
            f"laplace: {flat} of {len(u)} densities are not curved downwards in every direction at the end of their "
            "ascent, so no normal fits there.",
            ("guides", "normal"),
        )
    return u, torch.linalg.cholesky(V @ (V / size.unsqueeze(-2)).mT)
