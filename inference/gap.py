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

from collections.abc import Callable
from contextlib import suppress

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints, transform_to

from .annealed import ais
from .compiled import UntraceableError, traced
from .evaluate import _estimate
from .evidence import iwae, iwae_variance, log_evidence
from .pairs import (
    InferenceError,
    arguments,
    continuous_latents,
    cuda_devices,
    importance_traces,
    is_local,
    judging,
    latent_sites,
    log_joint,
    look,
    repeat,
)

ROWS = 20_000  # data times draws at a time: what bounds the memory
BETAS = (0.9, 0.95)  # of Adam: a steep start is soon forgotten
TRACE_STEPS = 100  # below, tracing a step takes longer than it saves

Family = Callable[[list[Tensor]], dist.Distribution]


def family(q: dist.Distribution) -> tuple[list[Tensor], Family]:
    """(unbounded parameters, each of batch shape (n, ...); the function from them to a distribution): q and its like.

    :raises InferenceError: if q is not told by parameters that can be varied, as that of a flow
    """
    if isinstance(q, dist.Independent):
        inner, make = family(q.base_dist)
        return inner, lambda free: make(free).to_event(q.reinterpreted_batch_ndims)
    if isinstance(q, dist.MultivariateNormal):
        return _normal(q.loc, q.scale_tril, (q.scale_tril != 0).flatten(0, -3).any(0))
    bounds = q.arg_constraints
    if not bounds or not q.has_rsample or {"probs", "logits"} <= bounds.keys():
        raise InferenceError(f"{type(q).__name__} has no parameters that could be fitted for each datum.")
    transforms = {name: transform_to(bound) for name, bound in bounds.items()}

    def make_another(free: list[Tensor]) -> dist.Distribution:
        return type(q)(**{name: t(value) for (name, t), value in zip(transforms.items(), free, strict=True)})

    return [t.inv(getattr(q, name)) for name, t in transforms.items()], make_another


def _normal(loc: Tensor, L: Tensor, used: Tensor) -> tuple[list[Tensor], Family]:
    """The normals Normal(loc, L L'), each (n, d, ...), whose L is zero where it is not `used`, (d, d)."""
    to_factor = transform_to(constraints.lower_cholesky)
    return [loc, to_factor.inv(L)], lambda free: dist.MultivariateNormal(free[0], scale_tril=to_factor(free[1]) * used)


def full_covariance(q: dist.Distribution) -> tuple[list[Tensor], Family] | None:
    """The family of normals of any covariance, from a normal q of several coordinates that is diagonal; else None."""
    base = q.base_dist if isinstance(q, dist.Independent) else q
    if len(q.event_shape) != 1 or q.event_shape[0] < 2 or not isinstance(base, dist.Normal | dist.MultivariateNormal):
        return None
    L = base.scale.diag_embed() if isinstance(base, dist.Normal) else base.scale_tril
    if L.tril(-1).any():
        return None
    return _normal(base.loc, L, torch.ones_like(L[0]).tril())


def log_w(pair: nn.Module, args: tuple, name: str, q: dist.Distribution, at: dist.Distribution, k: int) -> Tensor:
    """(k, n) log-weights of k draws of q for each datum, with the log-density of `at`, which is equal to q."""
    z = q.rsample((k,))
    prior, likelihood = log_joint(pair, repeat(args, k), {name: z.flatten(0, 1)})
    return (prior + likelihood).view(k, -1) - at.log_prob(z)


def fit_per_datum(
    pair: nn.Module, args: tuple, name: str, free: list[Tensor], make: Family, k: int, steps: int, lr: float
) -> dist.Distribution:
    """The member of the family that Adam ends at when it ascends the ELBO of every datum, each at parameters of its
    own, from `free`, with k draws for each in every step and a rate that falls to 0."""

    def gradients(*free: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad(), pyro.validation_enabled(False):
            free = [p.detach().requires_grad_() for p in free]
            elbo = log_w(pair, args, name, make(free), make([p.detach() for p in free]), k).mean(0)
            return torch.autograd.grad(-elbo.sum(), free)

    free = [p.clone(memory_format=torch.contiguous_format) for p in free]
    if steps >= TRACE_STEPS:
        with suppress(UntraceableError):
            gradients = traced(gradients, tuple(free))
    optimiser = torch.optim.Adam(free, lr, BETAS)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = lr * (1 - step / steps)
        for p, gradient in zip(free, gradients(*free), strict=True):
            p.grad = gradient
        optimiser.step()
    return make(free)


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
        nats: means as {"value", "se", "mc_se", "n", "unit"}, with "of" telling the evidence from its bound; per datum
        tensors (n,)
    :raises InferenceError: if the guide has not exactly one latent, local, continuous and with parameters to vary
    """
    for name, value, least in (("draws", draws, 2), ("chains", chains, 2), ("steps", steps, 1)):
        if value < least:
            raise InferenceError(f"{name} must be at least {least} for a gap report, not {value}.")
    n, columns = len(x), []
    with judging(pair, seed):
        every = arguments(pair, x, given)
        _refuse(pair, every)
        exact = log_evidence(pair, x, given)
        for rows in torch.arange(n, device=x.device).split(max(1, ROWS // max(draws, fit_draws))):
            args = tuple(a[rows] for a in every)
            ((name, site),) = latent_sites(importance_traces(pair, args, rows)[1]).items()
            start, make = family(site["fn"])
            found = [make(start)]
            found.append(fit_per_datum(pair, args, name, start, make, fit_draws, steps, lr))
            if richer := full_covariance(found[-1]):
                found.append(fit_per_datum(pair, args, name, *richer, fit_draws, steps, lr))
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
    seen, name = look(pair, args), type(pair).__name__
    sites = latent_sites(seen.guide)
    if len(sites) != 1 or set.union(*seen.enumerated) or not all(is_local(site) for site in sites.values()):
        raise InferenceError(
            f"the gap report is of guides with one continuous latent for each datum; that of {name} has "
            f"{', '.join(sites) or 'none'}{' (global)' if seen.joint else ''}."
        )
    if seen.points:
        raise InferenceError(f"the guide of {seen.points[0]} in {name} is a point (Delta): there is no bound, no gap.")
    continuous_latents(pair, tuple(a[:2] for a in args))
