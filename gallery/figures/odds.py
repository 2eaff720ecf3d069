"""Figure of answers, 0 or 1, at one covariate: the probability of a 1 under the guide, and the data."""

import pyro
import torch
from matplotlib.figure import Figure
from pyro import poutine
from torch import Tensor

from data import Dataset
from gallery.figures.style import BLUE, GREEN, INK, RED, array, dress, figure
from inference import Pair, eval_mode
from inference.pairs.capabilities import exact
from inference.pairs.run import arguments
from inference.pairs.sites import Site, latent_sites

__all__ = ["odds"]

POINTS = 120  # of the grid of the covariate
WIDER = 0.15  # of the range of the data, on both sides


def odds(pair: Pair, train: Dataset, draws: int = 2000, lines: int = 30, seed: int = 0) -> Figure:
    """Draw p(x = 1 | c) against the covariate c: its mean and its 90 % band under the guide, some draws, and the data.

    The mean under the exact posterior is dashed, where it is known and over the only latent.

    :param train: the data that the guide is of, with one covariate
    """
    c = train.covariates
    assert c is not None
    room = WIDER * (c.max() - c.min())
    grid = torch.linspace((c.min() - room).item(), (c.max() + room).item(), POINTS).to(c).unsqueeze(-1)
    args, at = arguments(pair, train.x, train.given), arguments(pair, train.x.new_zeros(POINTS, 1), grid)

    def curves(values: dict[str, Tensor] | None) -> Tensor:
        """Return p(x = 1 | c) of each draw, (draws, POINTS): of the guide, or of values of the latents."""
        with eval_mode(pair, seed), torch.no_grad(), pyro.plate("draws", draws, dim=-2):
            if values is None:
                model = poutine.replay(pair.model, poutine.trace(pair.guide).get_trace(*args))
            else:
                model = poutine.condition(pair.model, values)
            site: Site = poutine.trace(model).get_trace(*at).nodes["x"]
        probabilities: Tensor = site["fn"].mean
        return probabilities.reshape(draws, POINTS)

    of_guide, known = curves(None), exact(pair, "posterior")
    x, points = array(grid)[:, 0], array(train.x)[:, 0]
    fig = figure(6.4, 3.9)
    ax = dress(fig.add_subplot(), "Probability of a 1, by the covariate", "covariate c", "p(x = 1 | c)")
    low, high = of_guide.quantile(torch.tensor([0.05, 0.95]).to(of_guide), dim=0)
    ax.fill_between(x, array(low), array(high), color=RED, alpha=0.15, linewidth=0, label="90 % of the guide's curves")
    for i in range(lines):
        ax.plot(x, array(of_guide[i]), color=RED, linewidth=0.5, alpha=0.35)
    ax.plot(x, array(of_guide.mean(0)), color=RED, linewidth=2, label="their mean")
    with eval_mode(pair, seed), torch.no_grad():
        latents = latent_sites(poutine.trace(pair.guide).get_trace(*args))
        exact_draws = known(*args).sample((draws, 1)) if known and len(latents) == 1 else None
    if exact_draws is not None:
        mean = curves(dict.fromkeys(latents, exact_draws)).mean(0)
        ax.plot(x, array(mean), color=GREEN, linewidth=1.6, linestyle="--", label="mean, exact posterior")
    shift = 0.02 * (torch.arange(len(train)) % 3 - 1).numpy()  # data at close covariates stay apart
    ax.scatter(array(c)[:, 0], points + shift, s=14, color=BLUE, alpha=0.7, linewidths=0, label="data")
    ax.axhline(0.5, color=INK, linewidth=0.5, alpha=0.4)
    ax.set(xlim=(x[0], x[-1]), ylim=(-0.08, 1.08))
    fig.legend(*ax.get_legend_handles_labels(), frameon=False, fontsize=9, loc="outside lower center", ncols=4)
    return fig
