"""Figure of a sequence whose steps have several entries, such as the notes of a chorale, large enough to read."""

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from data import Dataset
from data.chorales import JSB_CHORALES
from gallery.figures.style import GAP, INK_ON_WHITE, array, dress, figure, limits
from inference import Pair, reconstruct, sample

__all__ = ["ends_early", "rolls"]

ENTRIES = {JSB_CHORALES: "note, from low to high"}
"""By data set: what an entry of a step is."""


def ends_early(dataset: Dataset, step_dim: int | None) -> bool:
    """Return whether rows are steps of that many entries, and some of them end before the last step."""
    if len(dataset.shape) != 2 or dataset.shape[1] != step_dim:
        return False
    return bool(dataset.x[:, -step_dim:].isnan().all(1).any())


def rolls(pair: Pair, dataset: Dataset, seed: int = 0) -> Figure:
    """Draw the first sequence, its reconstruction, and a draw from the model of as many steps, one above the other.

    Entries that are 0 in the whole data set are left out at the bottom and at the top.

    :param dataset: x (n, T d) of shape (T, d), NaN after the end of a shorter sequence
    """
    T, d = dataset.shape
    x = dataset.head(1).x
    within = int((~x.reshape(T, d).isnan()).any(1).nonzero().max()) + 1
    used = (dataset.x.nan_to_num() != 0).any(0).reshape(T, d).any(0).nonzero()[:, 0]
    first, last = (int(used.min()), int(used.max())) if len(used) else (0, d - 1)
    drawn = sample(pair, x, 1, seed=seed)["x"]
    panels = {
        f"x: a sequence of the {dataset.split} data, {within} steps": x,
        "E[x′ | z] with z ~ q(z | x): its reconstruction": reconstruct(pair, x, seed=seed),
        "z ~ p(z), x ~ p(x | z): a draw from the model": drawn,
    }
    low, high = limits(dataset.x)
    fig = figure(8.4, 1.9 * len(panels) + 0.3)
    axes = fig.subplots(len(panels), 1, sharex=True, sharey=True)
    for ax, (title, values) in zip(axes, panels.items(), strict=True):
        roll: torch.Tensor = values.reshape(T, d)[:within, first : last + 1].T
        box = (0.5, within + 0.5, first + 0.5, last + 1.5)
        ax.imshow(
            array(roll),
            INK_ON_WHITE,
            vmin=low,
            vmax=high,
            aspect="auto",
            interpolation="nearest",
            extent=box,
            origin="lower",
        )
        dress(ax, title, "", ENTRIES.get(dataset.name, "entry of a step"))
        ax.spines[:].set(visible=True, color=GAP, linewidth=2.5)
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes[-1].set_xlabel("step", fontsize=9)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return fig
