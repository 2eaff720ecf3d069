"""Figure of topics: each a distribution over words."""

from matplotlib.figure import Figure

from data import Dataset
from gallery.figures.style import BLUE, array, dress, figure, show, tile
from inference import Pair, eval_mode
from inference.pairs.capabilities import capability

__all__ = ["topics"]

WORDS, COLUMNS = 10, 5
SHOWN = 20  # topics, at most


def topics(pair: Pair, dataset: Dataset) -> Figure:
    """Draw the topics, 20 at most: pictures where the words lie on a grid, else bars of their ten most probable words.

    :param dataset: its shape is the grid; its column names are the words
    """
    with eval_mode(pair):
        beta = capability(pair, "topics")()[:SHOWN]
    columns = min(COLUMNS, len(beta))
    rows = -(-len(beta) // columns)
    if dataset.is_image:
        picture = tile(beta, dataset.shape, columns)
        fig = figure(1.3 * columns + 0.3, 1.3 * rows + 0.45)
        show(fig.add_subplot(), picture, (0.0, beta.max().item()), "Topics: the probability of each word on its grid")
        return fig
    names = dataset.column_names or tuple(str(j) for j in range(beta.shape[1]))
    fig = figure(2.1 * columns, 1.75 * rows)
    for k, ax in enumerate(fig.subplots(rows, columns, squeeze=False).flat):
        if k >= len(beta):
            ax.set_axis_off()
            continue
        p, words = beta[k].topk(min(WORDS, beta.shape[1]))
        dress(ax).barh(range(len(p)), array(p), color=BLUE, height=0.75)
        ax.set_yticks(range(len(p)), [names[j] for j in words.tolist()], fontsize=7)
        ax.set_ylim(len(p) - 0.4, -0.6)
        ax.tick_params(axis="x", labelsize=6)
        ax.locator_params(axis="x", nbins=3)
    return fig
