"""The mutual information of x and z under the guide, and its part of the KL.

With q(z) = 1/n sum_j q(z | x_j), the aggregate posterior of n data points, the KL of the ELBO has two parts,

    E_x KL(q(z | x) || p(z)) = I(x; z) + KL(q(z) || p(z)),    I(x; z) = E_x E_q(z|x) log q(z | x) / q(z):

the information of a code about its data point, and the distance of all codes together from the prior. I is at most
ln n, which is the entropy of the index of a data point. Near this cap it does not predict the value for more data. It
is zero, and not maximal, where q(z | x) = p(z) (one of our sources has it the other way round): such a code has no
information about x.

    Hoffman and Johnson, ELBO surgery: yet another way to carve up the variational evidence lower bound, 2016.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import pyro.distributions as dist
import torch
from torch import Tensor

from inference.errors import InferenceError
from inference.evaluation.estimate import Estimate
from inference.pairs.info import PairInfo, inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.run import arguments, eval_mode, importance_traces
from inference.pairs.sites import Site, is_flat, latent_sites

__all__ = ["Codes", "codes_and_densities", "mutual_information"]

MAX_ELEMENTS = 2**22  # of the n x n densities that are needed, or n x n x latent_dim: as many are in memory at a time


class Codes(NamedTuple):
    """One code of each of n data points, with its densities.

    :param z: (n, ...), z_i from q(z | x_i)
    :param p: the prior, of batch shape (n,)
    :param q: the guide, of batch shape (n,)
    :param log_p: log p(z_i), (n,) float64, as the following
    :param log_own: log q(z_i | x_i)
    :param log_aggregate: log q(z_i), of the mean of all q(z | x_j)
    """

    z: Tensor
    p: dist.TorchDistribution
    q: dist.TorchDistribution
    log_p: Tensor
    log_own: Tensor
    log_aggregate: Tensor


def mutual_information(
    pair: Pair, x: Tensor, given: Tensor | None = None, n: int = 2000, seed: int = 0
) -> dict[str, Estimate]:
    """Estimate I(x; z) of the first n data points, or of all if there are fewer, and the two terms of which it is the
    difference.

    One z_i is drawn from q(z | x_i) for every data point, and log q(z_i | x_j) evaluated for all pairs (i, j). This is
    done in parts, and for normals with independent coordinates by products of matrices, so that 60,000 data points take
    minutes. For these n data points the estimates are unbiased. As estimates of the information under the distribution
    of the data they are low, by about (exp(2 I) - 1) / 2n in a Gaussian case. A guide with parameters for each data
    point needs the data it was fitted to, in their order.

    :return: "mutual_information", with its "cap" ln n, = "kl", E_x KL(q(z | x) || p(z)), - "marginal_kl",
        KL(q(z) || p(z)), draw by draw, in nats. "se" is over data and draws together, to first order; that of
        "marginal_kl" is too small where q(z) equals p(z) nearly
    :raises InferenceError: if the guide has not exactly one latent, local, continuous and with a density, if a latent
        is summed out, or if the prior of z differs between data points
    """
    codes = codes_and_densities(pair, x, given, n, seed)
    own, aggregate, cap = codes.log_own, codes.log_aggregate, math.log(len(codes.z))
    return {
        "mutual_information": Estimate.of_mean(own - aggregate, "nats", cap=cap),
        "kl": Estimate.of_mean(own - codes.log_p, "nats"),
        "marginal_kl": Estimate.of_mean(aggregate - codes.log_p, "nats"),
    }


def codes_and_densities(pair: Pair, x: Tensor, given: Tensor | None, n: int, seed: int) -> Codes:
    """Draw a code of each of the first n data points, and evaluate it under all of their guides.

    :raises InferenceError: as `mutual_information`
    """
    if n < 2 or len(x) < 2:
        raise InferenceError(f"mutual information needs at least two data points; got n={n} and {len(x)} of them.")
    x, given = x[:n], None if given is None else given[:n]
    n, undefined = len(x), f"the mutual information of x and z under {type(pair).__name__} is undefined:"
    with eval_mode(pair, seed, "mutual_information"):
        args = arguments(pair, x, given)
        reason = _reason_undefined(inspect_pair(pair, args))
        if reason:
            raise InferenceError(f"{undefined} {reason}.")
        model, guide = importance_traces(pair, args)
        ((name, site),) = latent_sites(guide).items()
        prior: Site = model.nodes[name]
        p, q, z = prior["fn"], site["fn"], site["value"]  # of batch shape (n,)
        at_first = p.log_prob(z[:1])
        if not torch.allclose(at_first, at_first[:1]):
            raise InferenceError(f"{undefined} the prior of {name} is not the same for all data points.")
        log_p = p.log_prob(z).double()
        log_own, log_all, start = torch.empty_like(log_p), torch.empty_like(log_p), 0
        log_density, elements = _density_of_all(q, n)
        for part in z.split(max(1, MAX_ELEMENTS // elements)):
            log_q, end = log_density(part), start + len(part)  # (rows, n): log q(z_i | x_j)
            log_own[start:end] = log_q.diagonal(start)  # copied: a view would keep all n x n
            log_all[start:end] = log_q.logsumexp(1) - math.log(n)
            start = end
    return Codes(z, p, q, log_p, log_own, log_all)


def _density_of_all(q: dist.TorchDistribution, n: int) -> tuple[Callable[[Tensor], Tensor], int]:
    """Return the function of codes (rows, ...) with log q(z_i | x_j), (rows, n) float64, and its elements in a row."""
    normal = getattr(q, "base_dist", None)
    if not isinstance(normal, dist.Normal) or q.event_dim != 1 or normal.batch_shape[0] != n:
        size = n * q.event_shape.numel()
        # a flow that reads a context, (n, ...), does not broadcast over codes
        return lambda z: q.log_prob(z.unsqueeze(1).expand(len(z), *q.shape())).double(), size
    mean, precision = normal.loc.double(), normal.scale.double().square().reciprocal()
    weighted = mean * precision
    constant = (precision.log() - math.log(2 * math.pi) - mean * weighted).sum(1) / 2
    return lambda z: constant + z.double() @ weighted.T - z.double().square() @ precision.T / 2, n


def _reason_undefined(info: PairInfo) -> str | None:
    """Return why q(z | x_j) of one continuous z cannot be evaluated at any z; None if it can."""
    latents, enumerated = info.guide_sites, info.enumerated
    if info.has_global_latent:
        return "a latent is global"
    if enumerated:
        return f"{', '.join(sorted(enumerated))} is summed out"
    if len(latents) != 1 or not info.continuous_sites:
        return f"the guide has the latents {', '.join(latents) or '(none)'}; expected one, continuous"
    if info.delta_sites:
        return f"the guide of {', '.join(latents)} is a point (Delta), without a density"
    if any(is_flat(info.model.nodes[name]) for name in latents):
        return f"the prior of {', '.join(latents)} is flat"
    return None
