"""Figure of the codes of data."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

from data import Dataset
from gallery.figures.info import codes_of, info_of
from gallery.figures.style import BLUE, CLASSES, GREEN, GREY, INK, array, dress, figure
from inference import Pair
from inference.pairs.capabilities import exact

__all__ = ["latent_scatter"]


def _plane(codes: np.ndarray) -> tuple[np.ndarray, str, tuple[str, str]]:
    """Return codes, (n, width > 1), in two dimensions, (n, 2), the method, and the names of the axes.

    Codes of two coordinates are unchanged. Three are projected on their leading principal components: a plane shows
    them with their distances. More are mapped by t-SNE.
    """
    if codes.shape[1] == 2:
        return codes, "", ("z₁", "z₂")
    if len(codes) < 10 or codes.std(0).max() < 1e-6:  # too few codes, or a collapsed posterior
        return codes[:, :2], ", first two coordinates", ("z₁", "z₂")
    if codes.shape[1] == 3:
        centred = codes - codes.mean(0)
        _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
        share = (sizes[:2] ** 2).sum() / (sizes**2).sum()
        how = f"\ntwo principal components of 3 dimensions, {100 * share:.0f} % of variance"
        return centred @ axes[:2].T, how, ("first principal component", "second principal component")
    from sklearn.manifold import TSNE  # imports longer than all other figures are drawn

    tsne = TSNE(perplexity=min(30, len(codes) / 4), init="pca", max_iter=500, random_state=0)
    with threadpool_limits(1):  # more threads spin against each other: ten times slower on a busy machine
        points = tsne.fit_transform(codes)
    return points, f"\nt-SNE of {codes.shape[1]} dimensions", ("", "")


def latent_scatter(pair: Pair, dataset: Dataset, n: int = 2000) -> Figure:
    """Draw the posterior means of the first n data points: 1-D in a strip per class, 2-D and 3-D in a plane.

    The plane of three coordinates is that of the leading principal components; more coordinates are drawn by t-SNE.

    Each class has a colour and, at its median, its label. A scalar x without labels is drawn against its code.
    """
    info = info_of(pair, dataset)
    few = dataset.head(n)
    x = few.x
    codes = array(codes_of(info, x, few.given if info.conditional else None))
    labels = None if few.labels is None else array(few.labels)
    known = [] if labels is None else [y for y in range(dataset.classes or 0) if (labels == y).any()]
    title = f"Posterior means E[z | x] under the guide: {len(x)} {dataset.split} data points"
    if labels is not None and (labels < 0).any():
        title += "\ngrey where the label is unknown"
    if codes.shape[1] > 1:
        points, how, names = _plane(codes)
        fig = figure(5.4, 5.0)
        ax = dress(fig.add_subplot(), title + how, *names)
        ax.scatter(points[:, 0], points[:, 1], s=9, linewidths=0, alpha=0.75, color=_colours(labels, len(x)))
        for y in known:
            z_1, z_2 = np.median(points[labels == y], 0)
            edge = {"boxstyle": "circle", "fc": "white", "lw": 2, "ec": CLASSES[y % len(CLASSES)]}
            ax.text(z_1, z_2, str(y), ha="center", va="center", fontsize=10, fontweight="bold", color=INK, bbox=edge)
        if "t-SNE" in how:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        else:
            ax.set_aspect("equal", "datalim")
        return fig
    fig = figure(5.4, 3.6)
    ax = fig.add_subplot()
    if labels is not None and known:
        _strips(dress(ax, title, "z", "class"), codes[:, 0], labels, known)
    elif x.shape[1] == 1:
        order = array(x)[:, 0].argsort()
        dress(ax, title, "x", "E[z | x]").scatter(array(x)[:, 0], codes[:, 0], s=6, linewidths=0, color=BLUE)
        if info.is_scalar and (posterior := exact(pair, "posterior")):
            means = array(posterior(x).mean)
            ax.plot(array(x)[order, 0], means[order], color=GREEN, linewidth=1, label="exact posterior")
            ax.legend(frameon=False, fontsize=8)
    else:
        dress(ax, title, "z", "number of data points").hist(codes[:, 0], 50, color=BLUE)
    return fig


def _colours(labels: np.ndarray | None, n: int) -> list[str]:
    return [BLUE] * n if labels is None else [GREY if y < 0 else CLASSES[y % len(CLASSES)] for y in labels]


def _strips(ax: Axes, z: np.ndarray, labels: np.ndarray, known: list[int]) -> None:
    """Draw a strip per class, with the codes scattered over its breadth, and a bar at its median."""
    across = np.random.default_rng(0).uniform(-0.3, 0.3, len(z))
    ax.scatter(z, labels + across, s=6, linewidths=0, alpha=0.7, color=_colours(labels, len(z)))
    for y in known:
        ax.plot([np.median(z[labels == y])] * 2, [y - 0.35, y + 0.35], color="black", linewidth=1.5)
    ax.set_yticks(known)
