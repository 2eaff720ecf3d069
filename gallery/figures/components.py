"""Figure of the components of a mixture of images: draws from each, and the class it is matched to."""

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from data import Dataset
from gallery.figures.info import decode, info_of
from gallery.figures.style import figure, limits, show, tile
from inference import Pair, encode
from inference.evaluation.clustering import match
from inference.pairs.sites import Site

__all__ = ["components"]

FIGURE_SPACE = "\u2007"  # as wide as a digit


def components(pair: Pair, dataset: Dataset, each: int = 15, seed: int = 0) -> Figure | None:
    """Draw the mean E[x | z] of draws z given each component, in a row with its class and its share of the data.

    A data point is assigned to the most probable component under q(y | x). Rows are in the order of the classes that
    the components are matched to, unmatched components last; without labels, in the order of their shares.

    :param each: draws of each component
    :return: None unless the data are images and the model has a component and a code per image
    """
    info = info_of(pair, dataset)
    if not (dataset.is_image and info.component and info.codes) or info.conditional or len(info.data_sites) > 1:
        return None
    q = encode(pair, dataset.x)[info.component]  # (n, K)
    n, k = q.shape
    component = q.argmax(1)
    share = component.bincount(minlength=k) / n
    classes = dataset.classes or 0
    matched: list[int | None] = [None] * k
    labels, assigned = None, component
    if dataset.labels is not None and (dataset.labels >= 0).any():
        labels, assigned = dataset.labels[dataset.labels >= 0], component[dataset.labels >= 0]
        matched = match((assigned * classes + labels).bincount(minlength=k * classes).reshape(k, -1))
    places = [math.inf if y is None else y for y in matched]
    order = sorted(range(k), key=lambda i: (places[i], -share[i].item()))
    values = _values(info.prior[info.component], order, k, each)
    means = decode(pair, dataset.x, {info.component: values}, seed=seed).mean

    rows = [f"{100 * share[i].item():6.1f}".replace(" ", FIGURE_SPACE) + " %" for i in order]
    title = f"Mean E[x | z] of {each} draws z ~ p(z | y), a row for each component y\n"
    title += f"left: {'' if labels is None else 'the class matched to it, and '}its share of {n} {dataset.split} images"
    if labels is not None:
        rows = [f"{'–' if matched[i] is None else matched[i]}{row}" for i, row in zip(order, rows, strict=True)]
        right = [matched[i] == y for i, y in zip(assigned.tolist(), labels.tolist(), strict=True)]
        title += f"; accuracy {sum(right) / len(right):.3f}"
    picture = tile(means, dataset.shape, each)
    fig = figure(6.6, 5.9 * picture.shape[0] / picture.shape[1] + 0.5)
    show(fig.add_subplot(), picture, limits(dataset.x), title, rows)
    return fig


def _values(site: Site, order: list[int], k: int, each: int) -> Tensor:
    """Return each component `each` times as values of its site: (k * each, k) if it is one-hot, else (k * each,)."""
    y = torch.tensor(order, device=site["value"].device).repeat_interleave(each)
    return torch.eye(k).to(site["value"])[y] if site["fn"].event_shape else y.to(site["value"])
