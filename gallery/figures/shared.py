"""Figure of the latents that all data share: intervals of the guide beside those of the exact posterior."""

from itertools import product

import torch
from matplotlib.figure import Figure
from pyro import poutine
from torch import Tensor

from data import Dataset
from data.synthetic import TRUTH
from gallery.figures.style import GREEN, GREY, INK, RED, array, dress, figure
from inference import Pair, eval_mode
from inference.evaluation.reference import coordinates
from inference.pairs.capabilities import exact
from inference.pairs.run import arguments
from inference.pairs.sites import Site, latent_sites

__all__ = ["shared"]

INTERVALS = ((0.05, 0.95, 1.6), (0.25, 0.75, 5.0))  # the quantiles at the ends, and the width of the line


def shared(pair: Pair, train: Dataset, draws: int = 1000, seed: int = 0) -> Figure:
    """Draw the 50 % and 90 % interval of each coordinate of the exact posterior, of the guide beside it, and the truth
    where the data are synthetic.

    :param train: the data that the posterior is of
    :param draws: of the posterior, and of the guide
    """
    args = arguments(pair, train.x, train.given)
    with eval_mode(pair, seed), torch.no_grad():
        runs = [poutine.trace(pair.guide).get_trace(*args) for _ in range(draws)]
        of_guide = [{name: site["value"] for name, site in latent_sites(run).items()} for run in runs]
        stacked = coordinates(pair, {name: torch.stack([of[name] for of in of_guide]) for name in of_guide[0]})
        posterior = exact(pair, "posterior")
        assert stacked is not None
        assert posterior is not None
        exact_draws = posterior(*args).sample((draws,))
        labels = _labels(stacked[0], poutine.trace(poutine.replay(pair.model, runs[0])).get_trace(*args))
    known = TRUTH.get(train.name.partition(":")[0], {})
    truth = {f"{name}{i}": v for name, of in known.items() for i, v in _entries(torch.as_tensor(of))}
    fig = figure(max(5.4, 1.6 + 0.7 * len(labels)), 3.8)
    ax = dress(fig.add_subplot(), f"Latents that all {len(train)} data points share: intervals of 50 % and 90 %")
    both = (("exact posterior", GREEN, -0.12, exact_draws), ("guide", RED, 0.12, stacked))
    for words, colour, side, values in both:
        for i in range(len(labels)):
            for low, high, width in INTERVALS:
                ends = values[:, i].double().quantile(torch.tensor([low, high]).double().to(values.device))
                ax.plot([i + side] * 2, array(ends), color=colour, linewidth=width, solid_capstyle="butt")
            middle = values[:, i].median().item()
            ax.plot(i + side, middle, "o", color="white", markeredgecolor=colour, markersize=5)
        ax.plot([], [], color=colour, linewidth=5, label=words)
    places = [i for i, label in enumerate(labels) if label in truth]
    if places:
        ax.plot(places, [truth[labels[i]] for i in places], "D", color=INK, markersize=5, linestyle="", label="truth")
    ax.axhline(0, color=GREY, linewidth=0.5)
    ax.set_xticks(range(len(labels)), labels, fontsize=9)
    ax.set_xlim(-0.6, len(labels) - 0.4)
    fig.legend(*ax.get_legend_handles_labels(), frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    return fig


def _entries(value: Tensor) -> list[tuple[str, float]]:
    """Return (index, value) of each entry: ("[0]", 1.5), with an empty index if there is one number."""
    return [(str(list(at)) if at else "", value[at].item()) for at in product(*map(range, value.shape))]


def _labels(coordinate: Tensor, model: poutine.Trace) -> list[str]:
    """Return a name for each coordinate of one draw: that of the entry of a site with the same value, or its number."""
    sites: list[Site] = [site for site in model.nodes.values() if site["type"] == "sample"]
    names = {
        value: f"{site['name']}{i}"
        for site in sites
        if site["infer"].get("_deterministic") or not site["is_observed"]
        for i, value in _entries(site["value"])
    }
    return [names.get(value, f"[{i}]") for i, value in enumerate(coordinate.tolist())]
