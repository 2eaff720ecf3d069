"""What does a code tell of its datum? The mutual information of x and z under the guide, and its share of the KL.

With q(z) = 1/n sum_j q(z | x_j), the aggregate posterior of n data, the KL of the ELBO has two parts,

    E_x KL(q(z | x) || p(z)) = I(x; z) + KL(q(z) || p(z)),    I(x; z) = E_x E_q(z|x) log q(z | x) / q(z):

what a code tells of which datum it is of, and how far all codes together are from the prior. I is at most ln n, for n
data cannot be told apart by more, and near this cap it says nothing of what more data would give. It is zero, and not
maximal, where q(z | x) = p(z) (one of our sources has it the other way round): such a code tells nothing.

    Hoffman and Johnson, ELBO surgery: yet another way to carve up the variational evidence lower bound, 2016.
"""

import math

import torch
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.evaluation.classification import entry
from inference.pairs.info import PairInfo, inspect_pair
from inference.pairs.run import Batch, eval_mode, importance_traces
from inference.pairs.sites import is_flat, latent_sites

NUMBERS = 2**22  # n x n x latent_dim of them are needed, and so many held at a time


def _undefined(seen: PairInfo) -> str | None:
    """Why q(z | x_j) of one continuous z cannot be evaluated at any z; None if it can."""
    latents, summed = seen.guide_sites, seen.enumerated
    if seen.has_global_latent:
        return "a latent is global"
    if summed:
        return f"{', '.join(sorted(summed))} is summed out"
    if len(latents) != 1 or not seen.continuous_sites:
        return f"the guide has the latents {', '.join(latents) or '(none)'}, and not one that is continuous"
    if seen.delta_sites:
        return f"the guide of {', '.join(latents)} is a point (Delta), without a density"
    if any(is_flat(seen.model.nodes[name]) for name in latents):
        return f"the prior of {', '.join(latents)} is flat"
    return None


def mutual_information(
    pair: nn.Module, x: Tensor, given: Tensor | None = None, n: int = 2000, seed: int = 0
) -> dict[str, dict]:
    """I(x; z) of the first n data, or of all if there are fewer, and the two terms it is the difference of.

    One z_i is drawn from q(z | x_i) for every datum, and log q(z_i | x_j) evaluated for all pairs. For these n data
    the estimates are unbiased. As estimates of the information under the distribution of the data they are low, by
    about (exp(2 I) - 1) / 2n in a Gaussian case. A guide with parameters of its own for each datum wants the data it
    was fitted to, in their order.

    :return: "mutual_information", with its "cap" ln n, = "kl", E_x KL(q(z | x) || p(z)), - "marginal_kl",
        KL(q(z) || p(z)), draw by draw; each {"value", "se", "n", "unit": "nats"}, the standard error over data and
        draws together, to first order: that of "marginal_kl" is too small where q(z) is as good as p(z)
    :raises InferenceError: if the guide has not exactly one latent, local, continuous and with a density, if a latent
        is summed out, or if the prior of z differs between the data
    """
    if n < 2 or len(x) < 2:
        raise InferenceError(f"mutual information needs at least two data: n is {n}, and there are {len(x)}.")
    batch = Batch(x, given)[:n]
    n, words = len(batch), f"the mutual information of x and z under {type(pair).__name__} is undefined:"
    with eval_mode(pair, seed):
        args = batch.args(pair)
        reason = _undefined(inspect_pair(pair, args))
        if reason:
            raise InferenceError(f"{words} {reason}.")
        model, guide = importance_traces(pair, args)
        ((name, site),) = latent_sites(guide).items()
        p, q, z = model.nodes[name]["fn"], site["fn"], site["value"]  # of batch shape (n,)
        at_first = p.log_prob(z[:1])
        if not torch.allclose(at_first, at_first[:1]):
            raise InferenceError(f"{words} the prior of {name} is not the same for all data.")
        log_p, log_own, log_all, start = p.log_prob(z).double(), [], [], 0
        for part in z.split(max(1, NUMBERS // (n * z[0].numel()))):
            log_q = q.log_prob(part.unsqueeze(1)).double()  # (rows, n): log q(z_i | x_j)
            log_own.append(log_q.diagonal(start))
            log_all.append(log_q.logsumexp(1) - math.log(n))
            start += len(part)
    own, aggregate = torch.cat(log_own), torch.cat(log_all)  # log q(z_i | x_i), log q(z_i)
    return {
        "mutual_information": entry(own - aggregate, "nats") | {"cap": math.log(n)},
        "kl": entry(own - log_p, "nats"),
        "marginal_kl": entry(aggregate - log_p, "nats"),
    }
