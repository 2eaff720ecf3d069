"""Figure of the information of a code about its image, over the weight of the KL and over the decoder's context."""

from typing import Any

from matplotlib.figure import Figure

from gallery.figures.style import BLUE, GREY, INK, ORANGE, dress, figure

__all__ = ["information"]


def information(results: dict[str, Any]) -> Figure:
    """Draw I(x; z) and the KL of fits over beta, and over the number of pixels that the decoder sees.

    :param results: the content of information.json, which `gallery.ledger.experiments.information` writes
    """
    points = results["points"]
    ways = (
        ([p for p in points if not p["context"]], "beta", "weight β of the KL"),
        ([p for p in points if p["beta"] == 1], "context", "earlier pixels that the decoder sees"),
    )
    fig = figure(9.0, 3.6)
    axes = fig.subplots(1, 2, sharey=True)
    cap = points[0]["mutual_information"]["cap"]
    for ax, (fits, key, words) in zip(axes, ways, strict=True):
        fits = sorted(fits, key=lambda p: p[key])
        at = range(len(fits))
        dress(ax, "", words)
        ax.plot(at, [p["kl"] for p in fits], "o--", color=ORANGE, markersize=4, label="KL(q(z | x) ‖ p(z))")
        information = [p["mutual_information"]["value"] for p in fits]
        ax.plot(at, information, "o-", color=BLUE, markersize=5, linewidth=1.6, label="information I(x; z)")
        ax.axhline(cap, color=GREY, linewidth=1, linestyle=":", label=f"cap ln {results['n']:,} = {cap:.1f}")
        ax.set_xticks(at, [f"{p[key]:g}" for p in fits])
    axes[0].set_title("Information of the code about its image", loc="left", fontsize=10, color=INK)
    axes[0].set_ylabel("nats per data point", fontsize=9, color=INK)
    axes[0].set_ylim(bottom=-0.03 * max(p["kl"] for p in points))
    axes[0].legend(frameon=False, fontsize=9, labelcolor=INK)
    return fig
