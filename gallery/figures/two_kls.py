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
from torch import Tensor, nn

from gallery.figures.style import BLUE, GREY, INK, RED, array, dress, figure, number


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
    equal: Fit | None = None  # the first of the nearest under KL(q || p), where there is another


def two_kls_fits(s: float = 1.0, t: float = 0.5, x: float = 1.5, points: int = 8001) -> TwoKLs:
    """p(z | x) by quadrature in float64, and both nearest normals; of two equal optima the one with loc >= 0.

    :raises ValueError: if s or t is not positive
    """
    if not (s > 0 and t > 0):
        raise ValueError(f"s and t are standard deviations: they are positive, not {s} and {t}.")
    edge = 2 * min(9 * s, math.sqrt(max(x, 0.0) + 9 * t) + s)
    z = torch.linspace(-edge, edge, points, dtype=torch.float64)
    log_joint = -0.5 * (z / s).square() - 0.5 * ((x - z.square()) / t).square() - math.log(2 * math.pi * s * t)
    return nearest(z, log_joint)


def nearest(z: Tensor, log_joint: Tensor) -> TwoKLs:
    """The posterior on an even grid, and both normals nearest to it; of equal optima the one furthest to the right.

    :param z: (m,) float64, on which the posterior all but vanishes at the ends
    :param log_joint: (m,) log p(z, x), or what differs from it by a constant
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
    covering = Fit(mean, scale, ((p * (log_p - log_q)).sum() * dz).item())

    candidates, starts = [], [(mean, scale)]  # from the moments, and from every hump
    for i in humps(p):
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
        if normal(*v).exp().sum() * dz > 1 - 1e-6:  # else a step has led off the grid, where nothing is charged
            candidates.append(Fit(v[0].item(), v[1].exp().item(), reverse(v).item()))
    least = min(fit.kl for fit in candidates)
    best = sorted((fit for fit in candidates if fit.kl < least + 1e-7), key=lambda fit: fit.loc)
    apart = best[-1].loc - best[0].loc > 0.1 * best[0].scale
    return TwoKLs(z, p, log_evidence, best[-1], covering, best[0] if apart else None)


def humps(density: Tensor) -> list[int]:
    """Where a density on a grid, (m,), is highest among its neighbours, and not below a hundredth of its maximum."""
    inner = density[1:-1]
    top = (inner > density[:-2]) & (inner >= density[2:]) & (inner > 0.01 * density.max())
    return (top.nonzero().squeeze(1) + 1).tolist()


def two_kls(s: float = 1.0, t: float = 0.5, x: float = 1.5) -> Figure:
    """The posterior p(z | x) and the normals nearest to it under KL(q || p) and under KL(p || q)."""
    return _draw(two_kls_fits(s, t, x), f"z ~ Normal(0, {s:g}), x ~ Normal(z², {t:g}), seen x = {number(x, 'g')}")


def two_kls_of(pair: nn.Module, x: float = 1.5, points: int = 8001) -> Figure | None:
    """The same of a pair that knows its posterior of a scalar z given a scalar x; None unless it has several humps."""
    device = next((p.device for p in pair.parameters()), None)
    with torch.no_grad():
        posterior = pair.posterior(torch.tensor([[x]], dtype=torch.float64, device=device))
        loc, scale = posterior.mean.item(), posterior.stddev.item()
        z = torch.linspace(loc - 8 * scale, loc + 8 * scale, points, dtype=torch.float64, device=device)
        if not posterior.support.check(z).all():
            return None
        z, log_p = z.cpu(), posterior.log_prob(z.unsqueeze(-1)).squeeze(-1).cpu()
    if len(humps(log_p.exp())) < 2:
        return None
    return _draw(nearest(z, log_p), f"Exact posterior of {type(pair).__name__} at x = {number(x, 'g')}")


def _draw(fits: TwoKLs, story: str) -> Figure:
    z, p = fits.z, fits.density
    fig = figure(6.0, 4.0)
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
    if fits.equal is not None:
        y = array(fits.equal.density(z))
        ax.plot(array(z), y, color=RED, linewidth=1, linestyle=":", label="its equal on the left")
    loc, edge = fits.covering.loc, 3.2 * fits.covering.scale
    ax.set(xlim=(loc - edge, loc + edge), ylim=(0, None))
    fig.legend(frameon=False, fontsize=8, labelcolor=INK, loc="outside lower center", ncols=2)
    return fig
