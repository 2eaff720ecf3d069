"""Where is the bound lost? The gap between the evidence and the ELBO of an amortised guide, in two parts.

    log p(x) - ELBO(q_phi(z | x))  =  log p(x) - ELBO(q*)      the approximation gap: what the family cannot do
                                   +  ELBO(q*) - ELBO(q_phi)   the amortisation gap: what one network for all x loses

q* is the best member of the guide's family for each datum on its own, found by ascending the ELBO from where the
network starts it. Where log p(x) is not known the lower bound of annealed importance sampling stands for it, and gap
and approximation gap are lower bounds then too.

The family is that of the guide's distribution: all its parameters are free for each datum, also those that the guide
shares between data or holds fixed. Only zeros of a Cholesky factor that are zero for all data stay zero: a diagonal
guide remains one. What the optimiser leaves, some 1e-5 nats, counts as approximation gap.

    Cremer, Li and Duvenaud, Inference suboptimality in variational autoencoders, 2018.
    Roeder, Wu and Duvenaud, Sticking the landing, 2017 (the gradient, without noise where q is the posterior).
"""

import torch
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.evaluation.ais import ais
from inference.evaluation.log_weights import iwae, iwae_variance, log_evidence
from inference.evaluation.metrics import _estimate
from inference.guides.per_datum import family, fit_per_data_point, full_covariance, log_w
from inference.pairs.info import continuous_latents, inspect_pair
from inference.pairs.run import arguments, cuda_devices, eval_mode, importance_traces
from inference.pairs.sites import is_local, latent_sites

ROWS = 20_000  # data times draws at a time: what bounds the memory


def gap(
    pair: nn.Module,
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
    """The gap report of an amortised guide on these data.

    :param draws: of the guide for each datum, for the ELBOs; the same noise for both of them
    :param steps: of the optimiser for q*, with `fit_draws` draws for each datum in every step
    :param lr: its learning rate, of unbounded parameters
    :param chains: of annealed importance sampling, through so many temperatures, where log p(x) is not known
    :return: "mean" and "per_datum", both of "evidence", "elbo", "elbo_per_datum" (that of q*), "gap",
        "approximation_gap", "amortisation_gap" and, of a diagonal normal of several coordinates,
        "elbo_full_covariance" and "diagonal_gap", the part of the approximation gap that a full covariance closes. In
        nats: means as {"value", "se", "mc_se", "n", "unit"}, with "of" telling the evidence from its bound; per data point
        tensors (n,)
    :raises InferenceError: if the guide has not exactly one latent, local, continuous and with parameters to vary
    """
    for name, value, least in (("draws", draws, 2), ("chains", chains, 2), ("steps", steps, 1)):
        if value < least:
            raise InferenceError(f"{name} must be at least {least} for a gap report, not {value}.")
    n, columns = len(x), []
    with eval_mode(pair, seed):
        every = arguments(pair, x, given)
        _refuse(pair, every)
        exact = log_evidence(pair, x, given)
        for rows in torch.arange(n, device=x.device).split(max(1, ROWS // max(draws, fit_draws))):
            args = tuple(a[rows] for a in every)
            ((name, site),) = latent_sites(importance_traces(pair, args, rows)[1]).items()
            start, make = family(site["fn"])
            found = [make(start)]
            found.append(fit_per_data_point(pair, args, name, start, make, fit_draws, steps, lr))
            if richer := full_covariance(found[-1]):
                found.append(fit_per_data_point(pair, args, name, *richer, fit_draws, steps, lr))
            drawn = []
            for q in found:
                with torch.random.fork_rng(cuda_devices(pair)):  # the same noise for all
                    drawn.append(log_w(pair, args, name, q, q, draws).double())
            columns.append(torch.stack(drawn))
    amortised, optimal, *richer = torch.cat(columns, dim=2)  # (draws, n)
    if exact is None:
        weights = ais(pair, x, given, chains, temperatures, seed=seed)
        evidence, variance = iwae(weights).unsqueeze(0), iwae_variance(weights)
        about = {"of": "AIS, a lower bound of log p(x)", "chains": chains, "temperatures": temperatures}
    else:
        evidence, variance, about = exact.double().unsqueeze(0), 0.0, {"of": "log p(x)"}
    with_evidence = {
        "evidence": evidence,
        "gap": evidence - amortised,
        "approximation_gap": evidence - optimal,
    }
    without = {"elbo": amortised, "elbo_per_datum": optimal, "amortisation_gap": optimal - amortised}
    if richer:
        without |= {"elbo_full_covariance": richer[0], "diagonal_gap": richer[0] - optimal}
    mean = {}
    for name, values in (with_evidence | without).items():
        error = values.var(0) / draws if len(values) > 1 else torch.zeros_like(values[0])
        known = name in with_evidence
        mean[name] = _estimate(values, n, error + variance if known else error, **about if known else {})
    return {"mean": mean, "per_datum": {name: values.mean(0) for name, values in (with_evidence | without).items()}}


def _refuse(pair: nn.Module, args: tuple) -> None:
    seen, name = inspect_pair(pair, args), type(pair).__name__
    sites = seen.guide_sites
    if len(sites) != 1 or seen.enumerated or not all(is_local(site) for site in sites.values()):
        raise InferenceError(
            f"the gap report is of guides with one continuous latent for each datum; that of {name} has "
            f"{', '.join(sites) or 'none'}{' (global)' if seen.has_global_latent else ''}."
        )
    if seen.delta_sites:
        raise InferenceError(
            f"the guide of {seen.delta_sites[0]} in {name} is a point (Delta): there is no bound, no gap."
        )
    continuous_latents(pair, tuple(a[:2] for a in args))
