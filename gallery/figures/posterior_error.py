"""Figure of a comparison of inference algorithms: error of the posterior mean against gradient evaluations."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gallery.figures.comparison import logarithmic
from gallery.figures.style import CLASSES, GREY, INK, dress, figure, label_ends, number

__all__ = ["error"]


def error(result: dict) -> Figure | None:
    """Draw the error of the posterior mean against the gradient evaluations of fits and NUTS, one line per seed.

    Both axes are logarithmic. The error of independent draws falls with the slope -1/2; that of a guide ends at what
    its family, or its network, lacks.

    :param result: the content of compare.json
    :return: None if no row has the error of a posterior mean
    """
    lines: dict[str, list[np.ndarray]] = {}
    for row in result["rows"]:
        points = [(p["gradients"], p["error"]) for p in row.get("curve", []) if p.get("error") and p.get("gradients")]
        if points:
            lines.setdefault(row["label"], []).append(np.array(points).T)
    if not lines:
        return None
    fig = figure(8.4, 4.4)
    ax = fig.subplots()
    chains = next((f"; NUTS: of {row['n']} data points" for row in result["rows"] if "r_hat" in row), "")
    words = f"gradient evaluations of log p(x, z): of a minibatch{chains}"
    dress(ax, f"{result['model']} on {result['data']}", words)
    ax.set_ylabel("error of the posterior mean, in its sds", fontsize=9, color=INK)
    logarithmic(ax)
    gradients = np.concatenate([x for curves in lines.values() for x, _ in curves])
    if gradients.max() > 100 * gradients.min():
        ax.xaxis.set_major_locator(LogLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.grid(axis="y", color=GREY, linewidth=0.3)
    colours = {label: CLASSES[i % len(CLASSES)] for i, label in enumerate(lines)}
    for label, curves in lines.items():
        for x, y in curves:
            ax.plot(x, y, color=colours[label], linewidth=1.2, alpha=0.8)
    ends = {label: float(np.median([y[-1] for _, y in curves])) for label, curves in lines.items()}
    label_ends(ax, [(end, f"{label} {number(end, '.2g')}", colours[label]) for label, end in ends.items()])
    return fig
