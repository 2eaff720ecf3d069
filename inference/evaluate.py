"""How good is a fitted pair on these data? Numbers that say what they are, as they stand in metrics.json."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence

from .evidence import ROWS, draws, is_global, iwae, log_evidence
from .pairs import Rows, arguments, importance_traces, is_local, is_point, judging, latent_sites, summed_out
from .predictive import encode

GLOBAL_DRAWS = 8  # of the guide at a glance, where one draw serves all data
ACTIVE = 0.01  # a unit is active if the variance over data of its posterior mean exceeds this (Burda et al., 2016)


def _estimate(per_datum: Tensor, mc_variance: Tensor | None = None, **more) -> dict:
    """Mean of (n,) values in nats, with its standard error over data, and Monte Carlo at fixed data."""
    n = len(per_datum)
    result = {"value": per_datum.mean().item(), "n": n, "unit": "nats per datum", **more}
    if n > 1:
        result["se"] = (per_datum.std() / math.sqrt(n)).item()
    if mc_variance is not None:
        result["mc_se"] = mc_variance.sum().sqrt().item() / n
    return result


def is_per_datum(pair: nn.Module, args: tuple) -> bool:
    """Has the guide parameters of its own for every datum, so that it knows nothing of new data?"""
    densities = []
    with judging(pair, seed=0):
        for row in (0, 1):
            torch.manual_seed(0)
            rows = torch.full((len(args[0]),), row, device=args[0].device)
            with Rows(rows):
                sites = latent_sites(importance_traces(pair, args, rows)[1]).values()
            densities.append([site["value"] for site in sites])
    return any(not torch.equal(a, b) for a, b in zip(*densities, strict=True))


def glance(pair: nn.Module, x: Tensor, given: Tensor | None = None, seed: int = 0) -> dict[str, float]:
    """The number to follow during training, nats per datum: {"elbo": one draw for each datum, always of the same
    noise}, or {"reconstruction"} where the guide is a point; with {"evidence"} where the model knows it."""
    with judging(pair, seed):
        args = arguments(pair, x, given)
        drawn = draws(pair, x, given, GLOBAL_DRAWS if is_global(pair, args) else 1)
        key = "reconstruction" if point_sites(pair, args) else "elbo"
        exact = log_evidence(pair, x, given)
    result = {key: (drawn["likelihood" if key == "reconstruction" else "elbo"].mean(0).sum() / len(x)).item()}
    return result if exact is None else result | {"evidence": (exact.sum() / len(x)).item()}


def point_sites(pair: nn.Module, args: tuple) -> list[str]:
    """The latent sites at which the guide is a point: a likelihood has no bound there."""
    guide = importance_traces(pair, tuple(a[:2] for a in args))[1]
    return [name for name, site in latent_sites(guide).items() if is_point(site)]


def kl_per_latent(pair: nn.Module, x: Tensor, given: Tensor | None = None, seed: int = 0) -> dict[str, list[float]]:
    """KL(guide || prior) of every coordinate of every local continuous latent, averaged over x, nats per datum.

    In closed form where torch knows it, else from one draw for each datum. Where prior or guide ties coordinates
    together (a full covariance) there is one number for the whole site.
    """
    totals: dict[str, Tensor] = {}
    with judging(pair, seed):
        for start in range(0, len(x), ROWS):
            part = slice(start, start + ROWS)
            args = arguments(pair, x[part], None if given is None else given[part])
            model, guide = importance_traces(pair, args)
            kept, alone = summed_out(model, guide)
            cases = sum((guide.nodes[name]["log_prob"] for name in kept), x.new_zeros(len(args[0]))).exp()
            for name, q in latent_sites(guide).items():
                if not is_local(q) or q["fn"].support.is_discrete:
                    continue
                p, q, value = model.nodes[name]["fn"], q["fn"], q["value"]
                if alone and len(p.batch_shape) > len(q.batch_shape):
                    continue  # its prior depends on a site that the model sums out: it has no KL of its own
                batch_dims = max(len(p.batch_shape), len(q.batch_shape))
                if isinstance(p, dist.Independent) and isinstance(q, dist.Independent):
                    p, q = p.base_dist, q.base_dist
                try:
                    kl = kl_divergence(q, p)
                except NotImplementedError:
                    kl = q.log_prob(value) - p.log_prob(value)
                coordinates = kl.dim() - batch_dims
                kl = cases.reshape(*cases.shape, *[1] * coordinates) * kl
                while kl.dim() > 1 + coordinates:  # averaged over the enumerated cases, under the guide
                    kl = kl.sum(0)
                kl = kl.reshape(len(args[0]), -1).sum(0)
                totals[name] = totals.get(name, 0) + kl
    return {name: (total / len(x)).tolist() for name, total in totals.items()}


def evaluate(
    pair: nn.Module,
    x: Tensor,
    given: Tensor | None = None,
    particles: int = 16,
    seed: int = 0,
    held_out: bool = True,
) -> dict:
    """Bounds and diagnostics of the pair on x, always at beta = 1 and without dropout.

    :param particles: draws of the guide for each datum; also the k of IWAE-k
    :param held_out: are these other data than the pair was fitted to?
    :return: "elbo", "iwae" (with its k), "evidence" where the model knows it, "reconstruction" (the expected
        log-likelihood), "kl" and "kl_per_latent", "active_units"; every number a dictionary of value, standard
        error over data (se) and Monte Carlo at fixed data (mc_se), n and unit. What has no value is left out and
        has its reason under "undefined"
    """
    result: dict = {}
    undefined: dict[str, str] = {}
    with judging(pair, seed):
        args = arguments(pair, x, given)
        exact = log_evidence(pair, x, given)
        joint, points = is_global(pair, args), point_sites(pair, args)
        guide = importance_traces(pair, tuple(a[:2] for a in args))[1]
        real = {name for name, site in latent_sites(guide).items() if not site["fn"].support.is_discrete}
    if exact is not None:
        result["evidence"] = _estimate(exact) if exact.dim() else {"value": exact.item() / len(x), "n": len(x)}
        result["evidence"] |= {"unit": "nats per datum", "exact": True}
    if held_out and not joint and is_per_datum(pair, tuple(a[:2] for a in args)):
        reason = "the guide has parameters of its own for each datum it was fitted to, and none for these"
        return result | {"undefined": dict.fromkeys(("elbo", "iwae", "kl", "reconstruction"), reason)}
    with judging(pair, seed):
        drawn = draws(pair, x, given, particles)
    likelihood = drawn["likelihood"]
    if joint:
        undefined["se"] = "a latent is global: the data are dependent, the bounds are joint, divided by n"

    def mean(values: Tensor, **more) -> dict:
        if joint:
            of_mean = values.std(0).item() / math.sqrt(particles) if particles > 1 else math.nan
            entry = {"value": values.mean().item() / len(x), "mc_se": of_mean / len(x), "n": len(x)}
            return entry | {"unit": "nats per datum", "particles": particles} | more
        variance = values.var(0) / particles if particles > 1 else None
        return _estimate(values.mean(0), variance, particles=particles, **more)

    result["reconstruction"] = mean(likelihood)
    if points:
        reason = f"the guide of {', '.join(points)} is a point (Delta): it has no density, so there is no bound"
        undefined |= dict.fromkeys(("elbo", "iwae", "kl"), reason)
    else:
        result["elbo"] = mean(drawn["elbo"])
        result["kl"] = mean(likelihood - drawn["elbo"])
        weights = (drawn["weight"] - drawn["weight"].amax(0)).softmax(0)
        spread = weights.square().sum(0) - 1 / particles  # of the log-mean-exp, by the delta method
        if joint:
            entry = {"value": iwae(drawn["weight"]).item() / len(x), "n": len(x), "unit": "nats per datum"}
            result["iwae"] = entry | {"mc_se": spread.item() ** 0.5 / len(x), "k": particles}
        else:
            result["iwae"] = _estimate(iwae(drawn["weight"]), spread, k=particles)
        if not joint:
            result["kl_per_latent"] = kl_per_latent(pair, x, given, seed)
            codes = [code.reshape(len(x), -1) for name, code in encode(pair, x, given).items() if name in real]
            result["active_units"] = sum(int((code.var(0) > ACTIVE).sum()) for code in codes)
    return result | ({"undefined": undefined} if undefined else {})
