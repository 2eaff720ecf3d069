"""Figure of the units of a linear VAE that live, by the noise of its decoder."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gallery.figures.style import BLUE, GREY, INK, ORANGE, dress, figure

__all__ = ["collapse"]


def collapse(results: dict[str, Any]) -> Figure:
    """Draw the largest eigenvalues of the data, and the number of units that live against the noise.

    :param results: the content of collapse.json, which `gallery.ledger.experiments.ppca` writes
    """
    eigenvalues, units = np.array(results["eigenvalues"]), results["units"]
    fig = figure(9.0, 3.4)
    left, right = fig.subplots(1, 2)
    dress(left, "Eigenvalues of the covariance of the data", "eigenvalue, the largest first", "variance")
    at = np.arange(1, len(eigenvalues) + 1)
    left.bar(at, eigenvalues, 0.8, color=[BLUE if i <= units else GREY for i in at])
    left.set_xticks(at[::2])
    dress(right, "Units that live, by the noise", "noise σ²", f"units that live, of {units}")
    variance = np.concatenate([[0], np.sort(eigenvalues[:units]), [1.25 * eigenvalues[0]]])
    living = [(eigenvalues[:units] > v).sum() for v in variance]
    right.step(variance, living, where="post", color=ORANGE, linewidth=1.8, label="closed form: eigenvalues above σ²")
    fits = [(point["sigma"] ** 2, fit["living"]) for point in results["points"] for fit in point["fits"]]
    label = "fits: units with a KL above 0.01"
    right.plot(*zip(*fits, strict=True), "o", color=BLUE, markersize=6, alpha=0.6, label=label)
    right.set(xlim=(0, variance[-1]), ylim=(-0.4, units + 0.8))
    right.legend(frameon=False, fontsize=9, labelcolor=INK)
    return fig
