"""Figure of data as they are: images before any fit."""

from matplotlib.figure import Figure

from data import Dataset
from gallery.figures.style import figure, limits, show, tile

__all__ = ["originals"]


def originals(dataset: Dataset, n: int = 30, columns: int = 10) -> Figure:
    """Draw the first n images of a data set, row by row.

    :param dataset: of images
    :param columns: images of a row
    """
    x = dataset.head(n).x
    picture = tile(x, dataset.shape, columns)
    fig = figure(5.6, 5.6 * picture.shape[0] / picture.shape[1] + 0.35)
    title = f"The first {len(x)} images of {dataset.name}, {dataset.split}"
    show(fig.add_subplot(), picture, limits(x), title)
    return fig
