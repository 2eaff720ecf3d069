"""Measure q(y | x) of one discrete latent against the exact posterior, by enumeration of its values, without draws.

Labels have no mean and no sd. What is compared is their probabilities: KL, total variation, and the modes, which are
the values.
"""

from typing import Any

import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from inference.evaluation.estimate import Estimate
from inference.evaluation.modes import coverage
from inference.pairs.handlers import SetRows
from inference.pairs.pair import Pair
from inference.pairs.properties import values_of
from inference.pairs.run import log_joint, repeat

__all__ = ["against_probabilities"]


def against_probabilities(
    pair: Pair, args: tuple[Tensor, ...], site: str, posterior: TorchDistribution, summed: Tensor | None = None
) -> dict[str, Any]:
    """Compare the probabilities of a discrete latent of each data point with those of the exact posterior.

    Call it inside `eval_mode`.

    :param args: the arguments of `model` and `guide`, of n rows
    :param site: name of the latent
    :param posterior: of batch shape (n,), with values that can be enumerated
    :param summed: (n, values) q(y | x) where the model alone sums the latent out; None where the guide draws it
    :return: "n", "eubo", "forward_kl" and "forward_ess" as `against_posterior`, without Monte Carlo error;
        "total_variation", the largest of all data points; and "modes" where the posterior has several
    """
    n = len(args[0])
    values = values_of(posterior, expand=True)  # (values, n, ...)
    rows, tiled = torch.arange(n, device=args[0].device).repeat(len(values)), repeat(args, len(values))
    latent = {site: values.flatten(0, 1)}
    with SetRows(rows):
        prior, likelihood = log_joint(pair, tiled, latent)
        log_px = (prior + likelihood).view(len(values), n).double()
        if summed is None:
            guide = poutine.trace(poutine.condition(pair.guide, latent)).get_trace(*tiled)
            guide.compute_log_prob(lambda name, node: not site_is_subsample(node))
            log_q = guide.nodes[site]["log_prob"].view(len(values), n).double()
        else:
            log_q = summed.T.double().log()
    log_p = posterior.log_prob(values).double()
    p, q = log_p.exp(), log_q.exp()

    def mean(of_values: Tensor) -> Tensor:
        """Compute the expectation under p, (n,), whatever stands where p is 0."""
        return (p * of_values).where(p > 0, 0.0).sum(0)

    result: dict[str, Any] = {"n": n, "total_variation": ((p - q).abs().sum(0) / 2).max().item()}
    if modes := coverage(p, q):
        result["modes"] = modes
    bound, kl = mean(log_px - log_q), mean(log_p - log_q)
    if not bound.isfinite().all():
        reason = "the guide gives no mass to a value that the posterior has"
        return result | {"eubo": Estimate.of_undefined(reason), "forward_kl": Estimate.of_undefined(reason)}
    result["eubo"], result["forward_kl"] = (Estimate.of_draws(of.unsqueeze(0), n, exact=True) for of in (bound, kl))
    return result | {"forward_ess": (1 / mean((log_p - log_q).exp())).min().item()}
