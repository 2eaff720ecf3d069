"""Figure of the posterior of a component over a plane of data: the responsibilities."""

import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from data import Dataset
from gallery.figures.style import BLUE, CLASSES, INK, ORANGE, RED, array, dress, figure
from inference import Pair
from inference.pairs.capabilities import exact

__all__ = ["responsibilities"]

FEW = (BLUE, ORANGE, RED)  # colours that stay apart when they are mixed; more components have those of classes
POINTS = 200  # of the grid, along each axis
PALE = 0.3  # share of the colour in the plane, the rest is white
SHARED = 0.9  # a point that no component takes to more than this is shared
ROWS = 500  # data points


def responsibilities(pair: Pair, dataset: Dataset) -> Figure:
    """Draw p(y | x) over the plane of x, and data points, both in the colours of the components mixed by it.

    Points that no component has with a probability above 0.9 are drawn with an edge.
    """
    posterior, x = exact(pair, "posterior"), dataset.head(ROWS).x
    assert posterior is not None
    low, high = x.min(0).values, x.max(0).values
    room = 0.08 * (high - low)
    ends = [torch.linspace(a.item(), b.item(), POINTS) for a, b in zip(low - room, high + room, strict=True)]
    grid = torch.cartesian_prod(*ends).to(x)
    with torch.no_grad():
        plane, points = array(posterior(grid).probs), array(posterior(x).probs)
    names = FEW if plane.shape[1] <= len(FEW) else CLASSES
    colours = np.array([to_rgb(names[k % len(names)]) for k in range(plane.shape[1])])
    shades = 1 - PALE * (1 - plane @ colours)
    fig = figure(5.4, 4.6)
    share = 100 * (points.max(1) <= SHARED).mean()
    title = f"p(y | x) over the plane, and {len(x)} {dataset.split} data points\nedged: shared, no component has 90 %"
    title += f" ({share:.0f} % of the points)"
    ax = dress(fig.add_subplot(), title, "x₁", "x₂")
    extent = (ends[0][0].item(), ends[0][-1].item(), ends[1][0].item(), ends[1][-1].item())
    ax.imshow(shades.reshape(POINTS, POINTS, 3).transpose(1, 0, 2), origin="lower", extent=extent, aspect="auto")
    edges = [INK if top <= SHARED else "none" for top in points.max(1)]
    x_1, x_2 = array(x).T
    ax.scatter(x_1, x_2, s=16, color=(points @ colours).clip(0, 1), edgecolors=edges, linewidths=0.9)
    return fig
