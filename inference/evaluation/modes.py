"""Compare the modes of an exact posterior with the mass that a guide gives to each.

KL(guide || posterior) charges little for a mode that the guide leaves out: log 2 for half of the mass. The modes are
those that the posterior states: the values of a discrete latent; of a latent that is one number, the intervals between
the minima of its density on a grid.
"""

import pyro.distributions as dist
import torch
from torch import Tensor

from inference.pairs.properties import UndefinedError, is_discrete, support_of, values_of

__all__ = ["coverage", "mode_coverage", "mode_masses"]

NODES = 4000  # of the grid, over twice the range of the posterior's draws
LEAST = 0.01  # mass under the posterior, from which on an interval counts as a mode
COVERED = 0.1  # share of that mass, from which on a guide covers the mode


def mode_masses(posterior: dist.TorchDistribution, reference: Tensor, guess: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the masses of the modes under a posterior of a single number, and the shares of draws of a guide there.

    >>> p = dist.Categorical(torch.tensor([[0.25, 0.75]]))
    >>> mode_masses(p, torch.zeros(2, 1), torch.tensor([[0], [1]]))[1].T
    tensor([[0.5000, 0.5000]], dtype=torch.float64)

    :param posterior: of the batch shape (n,), or () of a latent that all data share
    :param reference: (draws, n) or (draws,) draws of the posterior, which give the range of the grid
    :param guess: (draws, n) or (draws,) draws of the guide
    :return: (masses, shares), (modes, n) each; masses are 0 where a data point has fewer modes
    """
    q = guess.reshape(len(guess), -1)
    if is_discrete(posterior):
        values = values_of(posterior)
        masses = posterior.log_prob(values).exp().reshape(len(values), -1).double()
        return masses, torch.stack([(q == value).double().mean(0) for value in values.flatten()])
    p = reference.reshape(len(reference), -1).double()
    low, span = p.amin(0), p.amax(0) - p.amin(0)
    grid = low + span * torch.linspace(-0.5, 1.5, NODES + 1, dtype=torch.float64, device=p.device).unsqueeze(-1)
    nodes = grid.reshape(-1, *reference.shape[1:])
    support = support_of(posterior)
    inside = torch.ones_like(nodes, dtype=torch.bool) if support is None else support.check(nodes).reshape(nodes.shape)
    log_p = posterior.log_prob(nodes.where(inside, reference[0].double())).reshape(NODES + 1, -1)
    log_p = log_p.where(inside.reshape(NODES + 1, -1), -torch.inf)
    slope = log_p.diff(dim=0).nan_to_num(0.0).sign()  # nan: both ends are outside of the support
    valleys = ((slope[:-1] <= 0) & (slope[1:] > 0)).long().cumsum(0)
    of_node = torch.cat([torch.zeros_like(valleys[:1]), valleys, valleys[-1:]])
    empty = torch.zeros(int(of_node.max()) + 1, p.shape[1], dtype=torch.float64, device=p.device)
    node = ((q.double() - low) / span.clamp(min=1e-300) + 0.5).mul(NODES / 2).clamp(0, NODES).round().long()
    shares = torch.full_like(q, 1 / len(q), dtype=torch.float64)
    masses = empty.scatter_add(0, of_node, log_p.double().softmax(0))
    return masses, empty.scatter_add(0, of_node.gather(0, node), shares)


def mode_coverage(posterior: dist.TorchDistribution, reference: Tensor, guess: Tensor) -> dict[str, float]:
    """Summarise `mode_masses` over the data points whose posterior has several modes.

    :return: "n", the number of these data points; and means over them: "modes", "covered", the number of modes to which
        the guide gives at least COVERED of their mass, and "overlap", sum_k min(p_k, q_k), at most 1. Empty if there is
        none, or the latent is not a single number with a known support and density
    """
    if posterior.event_shape.numel() > 1 or support_of(posterior) is None:
        return {}
    try:
        return coverage(*mode_masses(posterior, reference, guess))
    except (NotImplementedError, UndefinedError):  # a posterior that can be drawn, without density or list of values
        return {}


def coverage(p: Tensor, q: Tensor) -> dict[str, float]:
    """Summarise masses under the posterior and the guide, (modes, n) each, as `mode_coverage`."""
    modes = p >= LEAST
    several = modes.sum(0) > 1
    if not several.any():
        return {}
    covered = (modes & (q >= COVERED * p)).sum(0)
    counts = {"modes": modes.sum(0), "covered": covered, "overlap": torch.minimum(p, q).sum(0)}
    means = {name: value[several].double().mean().item() for name, value in counts.items()}
    return {"n": int(several.sum()), **means}
