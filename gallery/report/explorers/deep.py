"""The explorers of deep models, and the one of a family's committed weights, for a page without a run."""

import html

from data import Dataset
from gallery.report.explorers.components import components
from gallery.report.explorers.latent_plane import latent_plane
from gallery.report.explorers.reconstruction import reconstruction
from gallery.report.explorers.rows import rows
from gallery.report.explorers.weights import committed, describe
from inference import Pair

__all__ = ["committed_explorer", "deep"]


def deep(pair: Pair, test: Dataset) -> str | None:
    """Return the first explorer of images that applies to a pair.

    :param pair: on the CPU and in float64, like the data
    :return: None for another pair
    """
    makers = components, reconstruction, latent_plane, rows
    return next((it for make in makers if (it := make(pair, test)) is not None), None)


def committed_explorer(family: str) -> str | None:
    """Return the explorer of the committed weights of a family, followed by what they are.

    :param family: name of a file of `gallery.models`
    :return: None for a family without committed weights
    """
    found = committed(family)
    fragment = deep(*found) if found else None
    return fragment and f'{fragment}<p class="quiet">{html.escape(describe(family))}</p>\n'
