"""Figure of the information of a code about its image, over the weight of the KL and over the decoder's context."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gallery.figures.style import BLUE, GREY, INK, ORANGE, dress, figure

__all__ = ["information"]


def _draw(ax: Axes, at: Sequence[float], fits: list[dict[str, Any]], colour: str, decoder: str = "") -> None:
    found = [p["mutual_information"]["value"] for p in fits]
    ax.plot(at, found, "o-", color=colour, markersize=5, linewidth=1.6, label=f"I(x; z){decoder}")
    ax.plot(at, [p["kl"] for p in fits], "o--", color=colour, markersize=4, label="its KL(q(z | x) ‖ p(z))")


def information(results: dict[str, Any]) -> Figure:
    """Draw I(x; z) and the KL of fits over beta, and over the number of pixels that the decoder sees.

    :param results: the content of information.json, which `gallery.ledger.experiments.information` writes
    """
    points = sorted(results["points"], key=itemgetter("beta", "context"))
    cap, widest = points[0]["mutual_information"]["cap"], max(p["context"] for p in points)
    fig = figure(9.0, 3.8)
    left, right = fig.subplots(1, 2, sharey=True)
    dress(left, "", "weight β of the KL")
    dress(right, "", "earlier pixels that the decoder sees, β = 1")
    left.set_xscale("log")
    for context, colour, decoder in ((0, BLUE, "z"), (widest, ORANGE, f"z and {widest} earlier pixels")):
        fits = [p for p in points if p["context"] == context]
        _draw(left, [p["beta"] for p in fits], fits, colour, f", decoder of {decoder}")
    left.set_xticks(sorted({p["beta"] for p in points}), [f"{beta:g}" for beta in sorted({p["beta"] for p in points})])
    left.minorticks_off()
    fits = [p for p in points if p["beta"] == 1]
    _draw(right, range(len(fits)), fits, BLUE)
    right.set_xticks(range(len(fits)), [str(p["context"]) for p in fits])
    for ax in (left, right):
        ax.axhline(cap, color=GREY, linewidth=1, linestyle=":")
    place = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
    left.annotate(f"cap ln {results['n']:,}", (1, cap), fontsize=9, color=INK, **place)
    left.set_title("Information of the code about its image", loc="left", fontsize=10, color=INK)
    left.set_ylabel("nats per data point", fontsize=9, color=INK)
    left.set_ylim(bottom=-0.03 * max(p["kl"] for p in points))
    left.legend(frameon=False, fontsize=9, labelcolor=INK)
    return fig
