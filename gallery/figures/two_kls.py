"""The two directions of the KL, on the posterior of a squared Gaussian, which has two humps.

    z ~ Normal(0, s)          s and t are standard deviations
    x ~ Normal(z^2, t)        the sign of z is lost

KL(q || p) is what variational inference minimises: it charges q for mass where p has none, so a normal q takes one
hump and leaves the other. KL(p || q) charges it for lacking mass where p has some: its minimiser among the
normals has the mean and the variance of p, and covers both humps and the gap between them.
"""

import math
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from .style import BLUE, GREY, INK, RED, array, dress, figure, number


@dataclass(frozen=True)
class Fit:
    """A normal, and its KL divergence in nats: from q to p, or from p to q."""

    loc: float
    scale: float
    kl: float

    def density(self, z: Tensor) -> Tensor:
        return (-0.5 * ((z - self.loc) / self.scale).square()).exp() / (self.scale * math.sqrt(2 * math.pi))


@dataclass(frozen=True, eq=False)
class TwoKLs:
    """The posterior on a grid, (m,) each, log p(x) in nats, and the nearest normals under KL(q || p), KL(p || q)."""

    z: Tensor
    density: Tensor
    log_evidence: float
    seeking: Fit
    covering: Fit


def two_kls_fits(s: float = 1.0, t: float = 0.5, x: float = 1.5, points: int = 8001) -> TwoKLs:
    """p(z | x) by quadrature in float64, and both nearest normals; of two equal optima the one with loc >= 0.

    :raises ValueError: if s or t is not positive
    """
    if not (s > 0 and t > 0):
        raise ValueError(f"s and t are standard deviations: they are positive, not {s} and {t}.")
    edge = 2 * min(9 * s, math.sqrt(max(x, 0.0) + 9 * t) + s)
    z = torch.linspace(-edge, edge, points, dtype=torch.float64)
    dz = (z[1] - z[0]).item()
    log_joint = -0.5 * (z / s).square() - 0.5 * ((x - z.square()) / t).square() - math.log(2 * math.pi * s * t)
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
    covering = Fit(mean, scale, ((p * (log_p - log_q)).sum() * dz).item())

    mode = z[(p * (z >= 0)).argmax()].item()
    candidates = []
    for loc, width in ((mode, t / (2 * mode + t)), (mean, scale)):  # from a hump, and from the moments
        v = torch.tensor([loc, math.log(width)], dtype=torch.float64, requires_grad=True)
        lbfgs = torch.optim.LBFGS([v], max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

        def closure(v=v, lbfgs=lbfgs) -> Tensor:
            lbfgs.zero_grad()
            loss = reverse(v)
            loss.backward()
            return loss

        lbfgs.step(closure)
        v = v.detach()
        candidates.append(Fit(abs(v[0].item()), v[1].exp().item(), reverse(v).item()))
    return TwoKLs(z, p, log_evidence, min(candidates, key=lambda fit: fit.kl), covering)


def two_kls(s: float = 1.0, t: float = 0.5, x: float = 1.5) -> Figure:
    """The posterior p(z | x) and the normals nearest to it under KL(q || p) and under KL(p || q)."""
    fits = two_kls_fits(s, t, x)
    z, p = fits.z, fits.density
    fig = figure(6.0, 4.0)
    story = f"z ~ Normal(0, {s:g}), x ~ Normal(z², {t:g}), seen x = {number(x, 'g')}"
    ax = dress(
        fig.add_subplot(),
        f"The nearest normal depends on the direction of the KL\n{story}",
        "z",
        "density, per unit of z",
    )
    ax.fill_between(array(z), array(p), color=GREY, alpha=0.35, linewidth=0, label="exact posterior p(z | x)")
    for fit, colour, label in (
        (fits.seeking, RED, "min KL(q ‖ p)"),
        (fits.covering, BLUE, "min KL(p ‖ q)"),
    ):
        words = f"{label}: Normal({number(fit.loc, '.2f')}, {fit.scale:.2f}), {fit.kl:.2f} nats"
        ax.plot(array(z), array(fit.density(z)), color=colour, linewidth=1.6, label=words)
    other = Fit(-fits.seeking.loc, fits.seeking.scale, fits.seeking.kl)
    if other.loc < -0.1 * other.scale:
        ax.plot(array(z), array(other.density(z)), color=RED, linewidth=1, linestyle=":", label="its equal on the left")
    edge = 3.2 * fits.covering.scale + abs(fits.covering.loc)
    ax.set(xlim=(-edge, edge), ylim=(0, None))
    fig.legend(frameon=False, fontsize=8, labelcolor=INK, loc="outside lower center", ncols=2)
    return fig
