"""Laplace's approximation: the normal distribution that has the mode and the curvature of a density there.

    Normal(m, H^-1),    m = argmax log p(u),    H = -d^2 log p / du du' at m.

Every row has a density of its own. Where an optimiser left them, Newton's method takes them to their modes: along
eigenvectors of H, each divided by the size of its eigenvalue, so that a step ascends where H is not positive too
(Dauphin and others, Identifying and attacking the saddle point problem in high-dimensional non-convex optimization,
2014), and halved until it does. A normal density is met exactly in one step.

    MacKay, Information theory, inference, and learning algorithms, 2003, chapter 27.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from inference.errors import InferenceError

STEPS = 100  # of Newton's method, of which a few are needed
HALVINGS = 12
SMALL = 1e-3  # nats that a step promises: then it is next to the mode

Density = Callable[[Tensor], Tensor]


def _derivatives(log_p: Density, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(log p, its gradient, H) of every row: (b,), (b, d), (b, d, d)."""
    with torch.enable_grad():
        u = u.detach().requires_grad_()
        value = log_p(u)
        (gradient,) = torch.autograd.grad(value.sum(), u, create_graph=True)
        options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        rows = [torch.autograd.grad(g.sum(), u, **options)[0] for g in gradient.unbind(-1)]
    H = -torch.stack(rows, dim=-2)
    return value.detach(), gradient.detach(), (H + H.mT) / 2


def laplace(log_p: Density, u: Tensor) -> tuple[Tensor, Tensor]:
    """(m, L) of every row, (b, d) and (b, d, d) with L L' = H^-1, from starts u, (b, d).

    :param log_p: the log-density, up to a constant, of every row: (b, d) to (b,)
    :raises InferenceError: if a density has no curvature in some direction where its ascent ends
    """
    last = False
    for _ in range(STEPS):
        value, gradient, H = _derivatives(log_p, u)
        size, V = torch.linalg.eigh(H)
        least = torch.finfo(u.dtype).eps * size.abs().amax(-1, keepdim=True)
        if last:
            break
        step = (V @ ((V.mT @ gradient.unsqueeze(-1)) / size.abs().clamp(min=least).unsqueeze(-1))).squeeze(-1)
        better = torch.zeros_like(value, dtype=torch.bool)
        for halving in range(HALVINGS):
            further = u + step / 2**halving
            rises = (log_p(further) > value) & ~better
            u, better = torch.where(rises.unsqueeze(-1), further, u), better | rises
        if not better.any():  # log p is rounded, its gradient less so: where nearly nothing is to be gained, once more
            small = (gradient * step).sum(-1, keepdim=True) < SMALL
            u, last = torch.where(small, u + step, u), True
    flat = (size.amin(-1) <= least.squeeze(-1)).sum().item()
    if flat:
        raise InferenceError(
            f"laplace: {flat} of {len(u)} densities are not curved downwards in every direction where their ascent "
            "ends, so no normal fits there: use --guides normal."
        )
    return u, torch.linalg.cholesky(V @ (V / size.unsqueeze(-2)).mT)
