"""The normal distributions nearest to a density of one variable, in both directions of the KL, by quadrature."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["NearestNormals", "NormalFit", "modes", "nearest_normals", "two_kls_fits"]


@dataclass(frozen=True)
class NormalFit:
    """A normal distribution q and its divergence, KL(q || p) or KL(p || q), in nats."""

    loc: float
    scale: float
    kl: float

    def density(self, z: Tensor) -> Tensor:
        """Compute the density at z."""
        return (-0.5 * ((z - self.loc) / self.scale).square()).exp() / (self.scale * math.sqrt(2 * math.pi))


@dataclass(frozen=True, eq=False)
class NearestNormals:
    """A density on a grid, and the nearest normals.

    :param z: (m,), the grid
    :param density: (m,), the density at z
    :param log_evidence: the log of its normaliser, in nats
    :param seeking: the minimiser of KL(q || p)
    :param covering: the minimiser of KL(p || q)
    :param equal: another minimiser of KL(q || p), the leftmost; None if there is none
    """

    z: Tensor
    density: Tensor
    log_evidence: float
    seeking: NormalFit
    covering: NormalFit
    equal: NormalFit | None = None


def two_kls_fits(s: float = 1.0, t: float = 0.5, x: float = 1.5, points: int = 8001) -> NearestNormals:
    """Compute p(z | x) for z ~ Normal(0, s), x ~ Normal(z^2, t) on a grid in float64, and the nearest normals.

    Of two equal minimisers, `seeking` is the one with loc >= 0.

    :param points: the size of the grid
    :raises ValueError: if s or t is not positive
    """
    if not (s > 0 and t > 0):
        raise ValueError(f"The standard deviations are s={s} and t={t}; expected positive numbers.")
    edge = 2 * min(9 * s, math.sqrt(max(x, 0.0) + 9 * t) + s)
    z = torch.linspace(-edge, edge, points, dtype=torch.float64)
    log_joint = -0.5 * (z / s).square() - 0.5 * ((x - z.square()) / t).square() - math.log(2 * math.pi * s * t)
    return nearest_normals(z, log_joint)


def nearest_normals(z: Tensor, log_joint: Tensor) -> NearestNormals:
    """Normalise a density on an even grid, and compute both nearest normals.

    Of equal minimisers, `seeking` is the rightmost.

    :param z: (m,), float64, with negligible density at both ends
    :param log_joint: (m,), log p(z, x) up to a constant
    """
    dz = (z[1] - z[0]).item()
    log_evidence = (log_joint.logsumexp(0) + math.log(dz)).item()
    log_p = log_joint - log_evidence
    p = log_p.exp()

    def normal(loc: Tensor, log_scale: Tensor) -> Tensor:
        return -0.5 * ((z - loc) / log_scale.exp()).square() - log_scale - 0.5 * math.log(2 * math.pi)

    def reverse(v: Tensor) -> Tensor:
        log_q = normal(*v)
        return (log_q.exp() * (log_q - log_p)).sum() * dz

    mean = ((z * p).sum() * dz).item()
    scale = math.sqrt((((z - mean).square() * p).sum() * dz).item())
    log_q = normal(torch.tensor(mean), torch.tensor(scale).log())
    covering = NormalFit(mean, scale, ((p * (log_p - log_q)).sum() * dz).item())

    candidates, starts = [], [(mean, scale)]  # from the moments, and from every mode
    for i in modes(p):
        curvature = (2 * log_p[i] - log_p[i - 1] - log_p[i + 1]).item() / dz**2
        starts.append((z[i].item(), curvature**-0.5))
    for loc, width in starts:
        v = torch.tensor([loc, math.log(width)], dtype=torch.float64, requires_grad=True)
        lbfgs = torch.optim.LBFGS([v], max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

        def closure(v=v, lbfgs=lbfgs) -> Tensor:
            lbfgs.zero_grad()
            loss = reverse(v)
            loss.backward()
            return loss

        lbfgs.step(closure)
        v = v.detach()
        if normal(*v).exp().sum() * dz > 1 - 1e-6:  # else a step has left the grid, where the divergence is not counted
            candidates.append(NormalFit(v[0].item(), v[1].exp().item(), reverse(v).item()))
    least = min(fit.kl for fit in candidates)
    best = sorted((fit for fit in candidates if fit.kl < least + 1e-7), key=lambda fit: fit.loc)
    apart = best[-1].loc - best[0].loc > 0.1 * best[0].scale
    return NearestNormals(z, p, log_evidence, best[-1], covering, best[0] if apart else None)


def modes(density: Tensor) -> list[int]:
    """Return the indices of the local maxima of a density on a grid, (m,), above a hundredth of its maximum."""
    inner = density[1:-1]
    top = (inner > density[:-2]) & (inner >= density[2:]) & (inner > 0.01 * density.max())
    return (top.nonzero().squeeze(1) + 1).tolist()
