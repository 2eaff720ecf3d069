"""Figure of the two directions of the KL, on the bimodal posterior of a squared Gaussian.

    z ~ Normal(0, s)          s and t are standard deviations
    x ~ Normal(z^2, t)        the sign of z is lost

KL(q || p), which variational inference minimises, penalises mass of q where p has none: a normal q covers one mode.
KL(p || q) penalises missing mass of q where p has some: its minimiser among the normals has the mean and the variance
of p, and covers both modes and the valley between them.
"""

import torch
from matplotlib.figure import Figure

from gallery.figures.style import BLUE, GREY, INK, RED, array, dress, figure, number
from inference import Pair
from inference.evaluation.nearest_normals import NearestNormals, modes, nearest_normals, two_kls_fits

__all__ = ["two_kls", "two_kls_fits", "two_kls_of"]


def two_kls(s: float = 1.0, t: float = 0.5, x: float = 1.5) -> Figure:
    """Draw the posterior p(z | x) of the squared Gaussian and the nearest normals q by KL(q || p) and by KL(p || q).

    :param s: standard deviation of the prior of z
    :param t: standard deviation of x given z
    :param x: the observed value
    """
    return _draw(two_kls_fits(s, t, x), f"z ~ Normal(0, {s:g}), x ~ Normal(z², {t:g}), observed x = {number(x, 'g')}")


def two_kls_of(pair: Pair, x: float = 1.5, points: int = 8001) -> Figure | None:
    """Draw `two_kls` for a pair with an exact posterior of a scalar z given a scalar x.

    :return: None if the posterior has one mode
    """
    device = next((p.device for p in pair.parameters()), None)
    with torch.no_grad():
        posterior = pair.posterior(torch.tensor([[x]], dtype=torch.float64, device=device))
        loc, scale = posterior.mean.item(), posterior.stddev.item()
        z = torch.linspace(loc - 8 * scale, loc + 8 * scale, points, dtype=torch.float64, device=device)
        if not posterior.support.check(z).all():
            return None
        z, log_p = z.cpu(), posterior.log_prob(z.unsqueeze(-1)).squeeze(-1).cpu()
    if len(modes(log_p.exp())) < 2:
        return None
    return _draw(nearest_normals(z, log_p), f"Exact posterior of {type(pair).__name__} at x = {number(x, 'g')}")


def _draw(fits: NearestNormals, story: str) -> Figure:
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
        ax.plot(array(z), y, color=RED, linewidth=1, linestyle=":", label="equally good, on the left")
    loc, edge = fits.covering.loc, 3.2 * fits.covering.scale
    ax.set(xlim=(loc - edge, loc + edge), ylim=(0, None))
    fig.legend(frameon=False, fontsize=8, labelcolor=INK, loc="outside lower center", ncols=2)
    return fig
