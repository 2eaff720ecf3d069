"""Figure of conditional distributions p(x | y) of three kinds, by the number of bits of y."""

from typing import Any

from matplotlib.figure import Figure

from gallery.figures.style import BLUE, GREEN, INK, ORANGE, dress, figure, label_ends

__all__ = ["conditionals"]


def conditionals(results: dict[str, Any]) -> Figure:
    """Draw -log p(x | y) of new data, and dashed of the training data, over the bits of y, one line per kind.

    :param results: the result of `gallery.ledger.experiments.conditionals`, in nats per data point
    """
    fig = figure(6.6, 4.0)
    title = f"p(x | y) learned from {results['data']:,} data points, evaluated on new ones; dashed: training data"
    ax = dress(fig.add_subplot(), title, "bits of y", "−log p(x | y), nats per data point")
    ends = []
    for colour, (name, of) in zip((ORANGE, BLUE, GREEN), results["conditionals"].items(), strict=True):
        ax.plot(of["bits"], of["new"], "o-", color=colour, linewidth=1.4, markersize=4)
        ax.plot(of["bits"], of["train"], "--", color=colour, linewidth=1)
        ends.append((of["new"][-1], f"{name}: {of['parameters'][-1]:,} numbers", colour))
    ax.axhline(results["entropy"], color=INK, linewidth=1, linestyle=":")
    ends.append((results["entropy"], "entropy of x given y", INK))
    ax.set_ylim(0)
    label_ends(ax, ends)
    return fig
