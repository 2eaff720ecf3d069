"""Figures of sequences of numbers: one observed site for each step."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from data import Dataset
from gallery.figures.style import BLUE, ORANGE, RED, array, dress, figure
from inference import Pair, reconstruct, sample

__all__ = ["paths", "smoothed"]


def paths(pair: Pair, dataset: Dataset, n: int = 5, seed: int = 0) -> Figure:
    """Draw up to n sequences of data, and as many drawn from the model, against the step.

    :param dataset: x (n, T), NaN where a step is missing
    """
    x = dataset.head(n).x
    drawn = sample(pair, x, len(x), seed=seed)["x"].reshape(len(x), -1)
    fig = figure(7.2, 3.4)
    one, more = ("One sequence", "one draw") if len(x) == 1 else (f"{len(x)} sequences", f"{len(x)} draws")
    ax = dress(fig.subplots(), f"{one} of data, and {more} from the model", "step t", "x_t")
    steps = range(1, x.shape[1] + 1)
    for label, colour, values in (("from the model", ORANGE, drawn), ("data", BLUE, x)):
        lines = ax.plot(steps, array(values).T, color=colour, linewidth=1, marker=".", markersize=3, alpha=0.8)
        lines[0].set_label(label)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    fig.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=2)
    return fig


def smoothed(pair: Pair, dataset: Dataset, n: int = 3, draws: int = 200, seed: int = 0) -> Figure:
    """Draw up to n sequences with the mean of E[x_t | latents] and its 95 % band, over draws of the latents given x.

    The latents are drawn from the guide, and from the posterior of the model where the model alone sums them out. At a
    missing step the band is what the others say of it.

    :param dataset: x (n, T), NaN where a step is missing
    """
    x = dataset.head(n).x
    mean = reconstruct(pair, x.repeat(draws, 1), seed=seed).reshape(draws, len(x), -1)
    low, high = mean.quantile(mean.new_tensor([0.025, 0.975]), dim=0)
    fig = figure(7.2, 0.9 + 2.1 * len(x))
    axes = fig.subplots(len(x), sharex=True, squeeze=False)[:, 0]
    steps = range(1, x.shape[1] + 1)
    for i, ax in enumerate(axes):
        dress(ax, "", "step t" if i == len(axes) - 1 else "", "x_t")
        band = "E[x_t | latents], 95 % of draws of the latents given x"
        ax.fill_between(steps, array(low[i]), array(high[i]), color=RED, alpha=0.2, linewidth=0, label=band)
        ax.plot(steps, array(mean[:, i].mean(0)), color=RED, linewidth=1.4, label="its mean")
        ax.plot(steps, array(x[i]), ".", color=BLUE, markersize=5, label="x_t")
    axes[0].set_title("The smoothed sequence" if len(x) == 1 else "Smoothed sequences", loc="left", fontsize=10)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", frameon=False, fontsize=8, ncols=3)
    return fig
