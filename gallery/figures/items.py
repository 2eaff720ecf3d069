"""Figure of answers, right or wrong, that one number z of each data point explains: item characteristic curves."""

import torch
from matplotlib.figure import Figure
from pyro import poutine
from torch import Tensor

from data import Dataset
from gallery.figures.info import decode, info_of
from gallery.figures.style import BLUE, CLASSES, GREEN, GREY, ORANGE, RED, array, dress, figure
from inference import Pair, eval_mode
from inference.pairs.capabilities import exact
from inference.pairs.run import arguments
from inference.pairs.sites import Site, is_local, latent_sites

__all__ = ["answer_curves", "answers"]

REACH = 4.0
DRAWS = 200  # of latents that all data share
LABELLED = 10  # items, at most


def answer_curves(pair: Pair, dataset: Dataset, z: Tensor, seed: int = 0) -> Tensor:
    """Return the probabilities of an answer of 1 to each item at each z, (draws, m, items).

    :param dataset: the training data, of which latents that all data share are inferred; one draw without such a latent
    :param z: (m,) values of the only local latent
    """
    info = info_of(pair, dataset)
    (name,) = info.codes
    curves = []
    for i in range(DRAWS if info.has_global_latent else 1):
        shared: dict[str, Tensor] = {}
        if info.has_global_latent:
            with eval_mode(pair, seed + i):
                sites = latent_sites(poutine.trace(pair.guide).get_trace(*arguments(pair, dataset.x, dataset.given)))
            shared = {key: site["value"] for key, site in sites.items() if not is_local(site)}
        curves.append(decode(pair, dataset.x, {name: z} | shared).mean)
    return torch.stack(curves)


def answers(pair: Pair, train: Dataset, seed: int = 0) -> Figure:
    """Draw the probability of an answer of 1 to each item against z, and z of the data points with the fewest, a median
    number, and the most answers of 1: the guide and, where the model knows it, the exact posterior.
    """
    z, x = torch.linspace(-REACH, REACH, 161).to(train.x), train.x
    curves = answer_curves(pair, train, z, seed)
    fig = figure(10.4, 4.2)
    left, right = fig.subplots(1, 2)
    dress(left, "Probability of a right answer to each item", "z", "p(x = 1 | z)").set_ylim(0, 1)
    few = curves.shape[2] <= LABELLED
    colours = [CLASSES[j % len(CLASSES)] if few else BLUE for j in range(curves.shape[2])]
    for j in curves[:, len(z) // 2].mean(0).argsort(descending=True).tolist():  # the legend has the order of the curves
        colour = colours[j]
        low, middle, high = array(curves[:, :, j].quantile(torch.tensor([0.05, 0.5, 0.95]).to(curves), 0))
        label = f"item {j + 1}" if few else None
        left.plot(array(z), middle, color=colour, linewidth=2 if few else 1, label=label)
        if len(curves) > 1:
            left.fill_between(array(z), low, high, color=colour, alpha=0.15, linewidth=0)
    if few:
        left.legend(frameon=False, fontsize=9, loc="lower right")
    left.set_xlim(-REACH, REACH)

    order = x.nansum(1).argsort(stable=True)
    rows = order[[0, len(x) // 2, -1]]
    args = arguments(pair, x[rows], None if train.given is None else train.given[rows])
    with eval_mode(pair, seed):
        ((name, site),) = [
            of for of in latent_sites(poutine.trace(pair.guide).get_trace(*args)).items() if is_local(of[1])
        ]
        prior: Site = poutine.trace(pair.model).get_trace(*args).nodes[name]
        dress(right, "What the answers say about z", "z", "density")
        of_prior = prior["fn"].log_prob(z.unsqueeze(-1))[:, 0].exp()
        right.plot(array(z), array(of_prior), color=GREY, linestyle=":", label="prior")
        q = site["fn"].log_prob(z.unsqueeze(-1)).exp()
        known = exact(pair, "posterior")
        p = None if known is None else known(*args).log_prob(z.unsqueeze(-1).expand(-1, 3)).exp()
        for i, (colour, which) in enumerate(
            zip((RED, ORANGE, GREEN), ("fewest", "a median number", "most"), strict=True)
        ):
            right.plot(array(z), array(q[:, i]), color=colour, linewidth=2, label=f"guide, {which} right")
            if p is not None:
                right.plot(array(z), array(p[:, i]), color="black", linewidth=1, linestyle="--")
    if known is not None:
        right.plot([], [], color="black", linewidth=1, linestyle="--", label="exact posterior")
    right.set(xlim=(-REACH, REACH), ylim=(0, 1.4 * right.get_ylim()[1]))
    right.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    return fig
