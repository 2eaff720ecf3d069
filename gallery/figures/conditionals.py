"""What a conditional p(x | y) of one kind or another is worth, as y grows."""

from matplotlib.figure import Figure

from gallery.figures.style import BLUE, GREEN, INK, ORANGE, dress, figure, label_ends


def conditionals(found: dict) -> Figure:
    """-log p(x | y) of new data, and dashed of the data it was fitted to, over the bits of y; a line for each kind.

    :param found: what `gallery.experiments.conditionals` returns, in nats per data point
    """
    fig = figure(6.6, 4.0)
    title = f"p(x | y) learned from {found['data']:,} data, judged on new ones; dashed: on the same"
    ax = dress(fig.add_subplot(), title, "bits of y", "−log p(x | y), nats per data point")
    ends = []
    for colour, (name, of) in zip((ORANGE, BLUE, GREEN), found["conditionals"].items(), strict=True):
        ax.plot(of["bits"], of["new"], "o-", color=colour, linewidth=1.4, markersize=4)
        ax.plot(of["bits"], of["train"], "--", color=colour, linewidth=1)
        ends.append((of["new"][-1], f"{name}: {of['parameters'][-1]:,} numbers", colour))
    ax.axhline(found["entropy"], color=INK, linewidth=1, linestyle=":")
    ends.append((found["entropy"], "entropy of x given y", INK))
    ax.set_ylim(0)
    label_ends(ax, ends)
    return fig
