"""What the KL of a code consists of, on a finite set of data points.

With q(z) = 1/n sum_i q(z | x_i), the aggregate posterior, and q(z_j), its marginal distribution of coordinate j,

    1/n sum_i KL(q(z | x_i) || p(z)) = I(i; z) + KL(q(z) || prod_j q(z_j)) + sum_j KL(q(z_j) || p(z_j)),

where the prior has independent coordinates: the information of a code about the index of its data point, at most ln n;
the total correlation of the coordinates, 0 where they are independent over all data; and how far each coordinate is
from its prior. The last two are KL(q(z) || p(z)). It is an identity at every draw of codes.

A weight on the KL charges for all three. A code that is the prior for every x has none of them. One whose aggregate is
the prior has the first alone, as that of the best linear VAE with every unit alive on normal data.

    Hoffman and Johnson, ELBO surgery: yet another way to carve up the variational evidence lower bound, 2016.
    Chen, Li, Grosse and Duvenaud, Isolating sources of disentanglement in variational autoencoders, 2018.
"""

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from inference.errors import InferenceError
from inference.evaluation.estimate import Estimate
from inference.evaluation.mutual_information import MAX_ELEMENTS, Codes, codes_and_densities
from inference.pairs.pair import Pair

__all__ = ["kl_decomposition"]


def kl_decomposition(
    pair: Pair, x: Tensor, given: Tensor | None = None, n: int = 2000, seed: int = 0
) -> dict[str, Estimate]:
    """Estimate the parts of the KL of the codes of the first n data points, or of all if there are fewer.

    One code is drawn for each data point, as by `mutual_information`, whose numbers of the same seed are the same.

    >>> import torch
    >>> from gallery.models.vae import VAE
    >>> parts = kl_decomposition(VAE(data_dim=6, latent_dim=2, hidden=(8,)), torch.ones(5, 6))
    >>> kl = parts.pop("kl")["value"]
    >>> abs(kl - sum(part["value"] for part in parts.values())) < 1e-5
    True

    :return: "kl", and its parts "mutual_information", with its "cap" ln n, "total_correlation" and "dimensionwise_kl",
        with that of each coordinate under "coordinates", in nats. "se" is as of `mutual_information`
    :raises InferenceError: as `mutual_information`, or if the coordinates of z are not independent in guide and prior
    """
    two = codes_and_densities(pair, x[:2], None if given is None else given[:2], 2, seed)
    _by_coordinate(pair, two)  # refuses before the work of all
    codes = codes_and_densities(pair, x, given, n, seed)
    n, z = len(codes.z), codes.z.reshape(len(codes.z), -1)  # (n, d)
    q, p = _by_coordinate(pair, codes)
    log_q = torch.cat([_log_mean(q, part) for part in z.split(max(1, MAX_ELEMENTS // (n * z.shape[1])))])
    log_p = p.log_prob(codes.z).double().reshape(n, -1)
    each = log_q - log_p  # (n, d)
    return {
        "kl": Estimate.of_mean(codes.log_own - codes.log_p, "nats"),
        "mutual_information": Estimate.of_mean(codes.log_own - codes.log_aggregate, "nats", cap=math.log(n)),
        "total_correlation": Estimate.of_mean(codes.log_aggregate - log_q.sum(1), "nats"),
        "dimensionwise_kl": Estimate.of_mean(each.sum(1), "nats", coordinates=each.mean(0).tolist()),
    }


def _log_mean(q: dist.TorchDistribution, z: Tensor) -> Tensor:
    """Return log q(z_ij), (rows, d) float64, of codes (rows, d): the mean over all data points."""
    at = z.unsqueeze(1)  # (rows, 1, d)
    density = q.log_prob(at if len(q.batch_shape) == 2 else at.squeeze(2)).double()
    return density.reshape(len(z), -1, z.shape[1]).logsumexp(1) - math.log(density.shape[1])


def _by_coordinate(pair: Pair, codes: Codes) -> tuple[dist.TorchDistribution, dist.TorchDistribution]:
    """Return guide and prior as distributions of the coordinates of z."""
    return _coordinates(pair, "guide", codes.q), _coordinates(pair, "prior", codes.p)


def _coordinates(pair: Pair, what: str, fn: dist.TorchDistribution) -> dist.TorchDistribution:
    """Return the distribution of the coordinates of z, of batch shape (n, d), or (n,) where z is a number."""
    if fn.event_dim == 0:
        return fn
    base: Any = getattr(fn, "base_dist", None)
    if fn.event_dim > 1 or not isinstance(fn, dist.Independent) or base.event_dim > 0:
        raise InferenceError(
            f"the KL of {type(pair).__name__} has no parts by coordinate: z is {type(fn).__name__} in the {what}; "
            "expected independent coordinates, as Normal(...).to_event(1)."
        )
    return base
