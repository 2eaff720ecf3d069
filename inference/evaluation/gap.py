"""The gap between the evidence and the ELBO of an amortised guide, in two parts.

    log p(x) - ELBO(q_phi(z | x))  =  log p(x) - ELBO(q*)      the approximation gap: the limit of the family
                                   +  ELBO(q*) - ELBO(q_phi)   the amortisation gap: the cost of one network for all x

q* is the best member of the guide's family for each data point alone, reached by ascending the ELBO from the output of
the network. If log p(x) is unknown, the lower bound of annealed importance sampling replaces it, and gap and
approximation gap are lower bounds too.

The family is that of the guide's distribution. All its parameters are free for each data point, also those that the
guide shares between data points or holds fixed. Only entries of a Cholesky factor stay zero that are zero for all data
points, and at weights beside the pair's too: a diagonal guide remains diagonal, and a full one that is diagonal at its
present weights is full. The error of the optimiser, some 1e-5 nats, counts as approximation gap.

    Cremer, Li and Duvenaud, Inference suboptimality in variational autoencoders, 2018.
    Roeder, Wu and Duvenaud, Sticking the landing, 2017 (the gradient, without noise where q is the posterior).
"""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from inference.counts import whole_number
from inference.errors import InferenceError
from inference.evaluation.ais import ais
from inference.evaluation.estimate import Estimate
from inference.evaluation.log_weights import MAX_ROWS, iwae, iwae_variance, log_evidence
from inference.guides.per_data_point import family, fit_per_data_point, full_covariance, log_weights_of
from inference.pairs.fitted_rows import check_rows
from inference.pairs.info import continuous_latents, inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.run import arguments, cuda_devices, eval_mode, importance_traces
from inference.pairs.sites import is_local, latent_sites
from inference.pairs.values import nudged_weights

__all__ = ["gap"]


def gap(
    pair: Pair,
    x: Tensor,
    given: Tensor | None = None,
    draws: int = 100,
    steps: int = 500,
    lr: float = 0.05,
    fit_draws: int = 8,
    chains: int = 16,
    temperatures: int = 500,
    seed: int = 0,
) -> dict[str, dict]:
    """Estimate the gap of an amortised guide on these data, and its two parts, in nats.

        gap = log p(x) - ELBO(q)    = approximation_gap + amortisation_gap
        approximation_gap           = log p(x) - ELBO(q*)    the limit of the family of the guide
        amortisation_gap            = ELBO(q*) - ELBO(q)     the cost of one network for all data points

    q is the guide, and q* the best member of its family for each data point, found by the optimiser Adam.

    Cremer, Li and Duvenaud, Inference suboptimality in variational autoencoders, 2018.

    >>> from inference.examples import LinearGaussian
    >>> report = gap(LinearGaussian(), torch.zeros(3, 1), steps=5)
    >>> sorted(report["mean"])
    ['amortisation_gap', 'approximation_gap', 'elbo', 'elbo_per_data_point', 'evidence', 'gap']
    >>> report["mean"]["gap"]["of"], report["per_data_point"]["gap"].shape
    ('log p(x)', torch.Size([3]))

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :param draws: of the guide for each data point, for the ELBOs, which share the same noise
    :param steps: of the optimiser for q*
    :param lr: learning rate of the optimiser, of unbounded parameters
    :param fit_draws: for each data point in every step of the optimiser
    :param chains: of annealed importance sampling, where log p(x) is unknown
    :param temperatures: of annealed importance sampling, where log p(x) is unknown
    :param seed: of the noise
    :return: "mean", with an `Estimate` by name, and "per_data_point", with (n,) tensors. The names are "evidence",
        "elbo", "elbo_per_data_point" (that of q*), "gap", "approximation_gap" and "amortisation_gap". A guide that is a
        diagonal normal of several coordinates also has "elbo_full_covariance" and "diagonal_gap", the part of the
        approximation gap that a full covariance closes. In "mean", the detail "of" states whether the evidence is exact
        or a bound
    :raises InferenceError: if the guide has not exactly one latent, local, continuous and with parameters to vary, or
        if `draws` or `chains` is below 2 or `steps` below 1
    """
    draws, chains = whole_number(draws, "draws", least=2), whole_number(chains, "chains", least=2)
    steps, fit_draws = whole_number(steps, "steps"), whole_number(fit_draws, "fit_draws")
    n, columns = len(x), []
    with eval_mode(pair, seed, "gap"):
        every = arguments(pair, x, given)
        _check(pair, every)
        check_rows(pair, every)
        exact = log_evidence(pair, x, given)
        for rows in torch.arange(n, device=x.device).split(max(1, MAX_ROWS // max(draws, fit_draws))):
            args = tuple(a[rows] for a in every)
            ((name, site),) = latent_sites(importance_traces(pair, args, rows)[1]).items()
            start, make = family(site["fn"], _beside(pair, args, rows, name))
            members = [make(start)]
            members.append(fit_per_data_point(pair, args, name, start, make, fit_draws, steps, lr, rows))
            if (tied := full_covariance(members[-1])) is not None:
                members.append(fit_per_data_point(pair, args, name, *tied, fit_draws, steps, lr, rows))
            drawn = []
            for q in members:
                with torch.random.fork_rng(cuda_devices(pair)):  # the same noise for all members
                    drawn.append(log_weights_of(pair, args, name, q, q, draws, rows).double())
            columns.append(torch.stack(drawn))
    amortised, optimal, *richer = torch.cat(columns, dim=2)  # (draws, n)
    if exact is None:
        weights = ais(pair, x, given, chains, temperatures, seed=seed)
        evidence, variance = iwae(weights).unsqueeze(0), iwae_variance(weights)
        about = {"of": "AIS, a lower bound of log p(x)", "chains": chains, "temperatures": temperatures}
    else:
        evidence, variance, about = exact.double().unsqueeze(0), exact.new_zeros(()).double(), {"of": "log p(x)"}
    with_evidence = {
        "evidence": evidence,
        "gap": evidence - amortised,
        "approximation_gap": evidence - optimal,
    }
    without = {"elbo": amortised, "elbo_per_data_point": optimal, "amortisation_gap": optimal - amortised}
    if richer:
        without |= {"elbo_full_covariance": richer[0], "diagonal_gap": richer[0] - optimal}
    mean = {}
    for name, values in (with_evidence | without).items():
        of_draws = values.var(0) / draws if len(values) > 1 else torch.zeros_like(values[0])
        if name in with_evidence:
            mean[name] = Estimate.of_draws(values, n, of_draws + variance, **about)
        else:
            mean[name] = Estimate.of_draws(values, n, of_draws)
    return {
        "mean": mean,
        "per_data_point": {name: values.mean(0) for name, values in (with_evidence | without).items()},
    }


def _beside(pair: Pair, args: tuple[Tensor, ...], rows: Tensor, name: str) -> dist.TorchDistribution | None:
    """Return the guide's distribution of a latent at weights beside the pair's; None if it cannot be run there."""
    with torch.random.fork_rng(cuda_devices(pair)), pyro.validation_enabled(False), nudged_weights(pair):
        try:
            return latent_sites(importance_traces(pair, args, rows)[1])[name]["fn"]
        except (ValueError, RuntimeError):  # weights beside the pair's may be impossible
            return None


def _check(pair: Pair, args: tuple[Tensor, ...]) -> None:
    """Check that the gap is defined.

    :raises InferenceError: if it is not
    """
    info, name = inspect_pair(pair, args), type(pair).__name__
    sites = info.guide_sites
    if len(sites) != 1 or info.enumerated or not all(is_local(site) for site in sites.values()):
        raise InferenceError(
            f"the gap report needs a guide with one continuous latent for each data point; that of {name} has "
            f"{', '.join(sites) or 'none'}{' (global)' if info.has_global_latent else ''}."
        )
    if info.delta_sites:
        raise InferenceError(
            f"the gap report needs a guide with a density; that of {info.delta_sites[0]} in {name} is a point (Delta)."
        )
    continuous_latents(pair, tuple(a[:2] for a in args))
