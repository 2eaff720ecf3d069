"""Figures of rate and distortion in nats, and of the KL of each latent coordinate."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from gallery.figures.style import BLUE, GREY, INK, ORANGE, dress, figure, number, scalar_limits

__all__ = ["kl_bars", "rate_distortion"]

ACTIVE = 0.01  # a coordinate is active if its KL exceeds this, nats per data point
UPRIGHT, NAMED = 20, 64  # coordinates at most with horizontal labels, and with labels


def rate_distortion(points: Sequence[dict[str, float]]) -> Figure:
    """Draw distortion -E[log p(x | z)] over rate KL(q || p), nats per data point, of pairs fitted at several beta.

    At beta = 1 the objective is -ELBO = rate + distortion. The dashed line of slope -1 has this -ELBO. No point would
    lie below it if the pair at beta = 1 were optimal in its family.

    :param points: a dictionary for each pair: "beta", "kl" and "reconstruction", nats per data point
    """
    points = sorted(points, key=lambda point: point["beta"])
    rate = np.array([point["kl"] for point in points])
    distortion = np.array([-point["reconstruction"] for point in points])
    fig = figure(6.0, 4.2)
    title = f"Distortion against rate of {len(points)} pairs, each with another weight β on the KL"
    ax = dress(
        fig.add_subplot(),
        title,
        "rate KL(q ‖ p), nats per data point",
        "distortion −E[log p(x | z)], nats per data point",
    )
    ax.plot(rate, distortion, "o-", color=BLUE, linewidth=1.4, markersize=4)
    ax.set(xlim=scalar_limits(rate, 0.15), ylim=scalar_limits(distortion, 0.12))
    for point, x, y in zip(points, rate, distortion, strict=True):
        words = f"β = {number(point['beta'], 'g')}"
        ax.annotate(words, (x, y), (6, 6), textcoords="offset points", color=INK, fontsize=9)
        if point["beta"] == 1:
            ax.axline((x, y), slope=-1, color=ORANGE, linewidth=1, linestyle="--", zorder=1)
            label = f"rate + distortion = {number(x + y, '.2f')}: −ELBO at β = 1"
            ax.legend(ax.lines[-1:], [label], frameon=False, fontsize=9, labelcolor=INK)
    return fig


def kl_bars(kl_per_latent: dict[str, list[float]]) -> Figure | None:
    """Draw KL(guide || prior) of every latent coordinate; inactive coordinates are grey.

    The largest comes first, but latents of one coordinate each, such as the states of a sequence, stand in their order.

    :param kl_per_latent: the KL of the coordinates of every latent site, nats per data point
    :return: None if there are no more than two coordinates
    """
    several = len(kl_per_latent) > 1
    in_order = several and all(len(kls) == 1 for kls in kl_per_latent.values())
    bars = [
        (kl, name if in_order else f"{name}[{i}]" if several else str(i))
        for name, kls in kl_per_latent.items()
        for i, kl in enumerate(kls)
    ]
    if len(bars) < 3:
        return None
    if not in_order:
        bars.sort(key=lambda bar: -bar[0])
    kl = np.array([value for value, _ in bars])
    active = int((kl > ACTIVE).sum())
    fig = figure(6.4, 3.2)
    what = "latent" if in_order else "coordinate"
    title = f"KL(q ‖ p) of each {what}: {kl.sum():.2f} nats in all, {active} of {len(kl)} above {ACTIVE:g}"
    named, upright = len(bars) <= NAMED, len(bars) <= UPRIGHT and (in_order or not several)
    if in_order:
        label = "latent" if named else f"latents {bars[0][1]} to {bars[-1][1]}, in their order"
    else:
        label = "coordinate of the code" if named else "coordinates of the code, the largest first"
    ax = dress(fig.add_subplot(), title, label, "nats per data point")
    ax.bar(range(len(kl)), kl, 0.8, color=[BLUE if value > ACTIVE else GREY for value in kl])
    ax.set_xlim(-0.6, len(kl) - 0.4)
    ax.set_xticks(range(len(kl)) if named else [], [name for _, name in bars] if named else [])
    ax.tick_params("x", length=0, labelsize=8 if upright else 7, labelrotation=0 if upright else 90)
    return fig
