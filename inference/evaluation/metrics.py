"""How good is a fitted pair on these data? Numbers that say what they are, as they stand in metrics.json."""

import math
from dataclasses import dataclass

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence

from inference.evaluation.log_weights import ROWS, draws, effective_sample_size, iwae, iwae_variance, log_evidence
from inference.evaluation.predictive import encode
from inference.pairs.info import inspect_pair
from inference.pairs.run import Batch, arguments, eval_mode, importance_traces
from inference.pairs.sites import (
    children_of_enumerated,
    enumerated_sites,
    independent_factors,
    is_local,
    latent_sites,
    same_order,
)

KEPT = 8_000_000  # draws kept at a time, whatever they are of
GLOBAL_DRAWS = 8  # of the guide at a glance, where one draw serves all data
ACTIVE = 0.01  # a unit is active if the variance over data of its posterior mean exceeds this (Burda et al., 2016)
MIN_ESS = 5  # effective draws, by which joint weights have a known spread
FAINT = 0.01  # nats of KL of a coordinate, below which it is taken for the prior


@dataclass(frozen=True)
class _Draws:
    """k draws of a quantity for each datum, (m,) each: their mean, and the variance of that mean; m is 1 where a latent
    is global and a draw is for all data together."""

    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, values: Tensor) -> "_Draws":
        """From (k, m); the variance of one draw is not known: nan."""
        values = values.double()
        return cls(values.mean(0), values.var(0) / len(values) if len(values) > 1 else values[0] * math.nan)

    def estimate(self, n: int, **more) -> dict:
        """The mean per data point in nats, with its standard error over data (se), and Monte Carlo at fixed data (mc_se)."""
        result = {"value": self.mean.sum().item() / n, "n": n, "unit": "nats per data point", **more}
        if len(self.mean) > 1:
            result["se"] = self.mean.std().item() / math.sqrt(n)
        if not self.variance.isnan().any():
            result["mc_se"] = self.variance.sum().sqrt().item() / n
        return result


def _estimate(values: Tensor, n: int, mc_variance: Tensor | None = None, **more) -> dict:
    """The entry of (k, m) draws; `mc_variance` of the mean over them, where it is not their sample variance / k."""
    drawn = _Draws.of(values)
    return (drawn if mc_variance is None else _Draws(drawn.mean, mc_variance)).estimate(n, **more)


def _drawn(pair: nn.Module, x: Tensor, given: Tensor | None, k: int, at_a_time: int) -> dict[str, _Draws]:
    """ "elbo", "reconstruction", "kl" and "iwae" from k draws for each datum, of which so many data are taken at a time
    that their draws stay within KEPT."""
    parts: dict[str, list[_Draws]] = {}
    joint = inspect_pair(pair, arguments(pair, x, given)).has_global_latent
    width, compiled = len(x) if joint else max(1, KEPT // k), {}
    for start in range(0, len(x), width):
        part = slice(start, start + width)
        batch = Batch(x, given)[part]
        drawn = draws(pair, batch.x, batch.given, k, at_a_time, start, compiled)
        weights = drawn["weight"].double()
        found = {
            "elbo": _Draws.of(drawn["elbo"]),
            "reconstruction": _Draws.of(drawn["likelihood"]),
            "kl": _Draws.of(drawn["likelihood"] - drawn["elbo"]),
            "iwae": _Draws(iwae(weights), _known_variance(weights) if joint else iwae_variance(weights)),
        }
        for name, value in found.items():
            parts.setdefault(name, []).append(value)
    return {
        name: _Draws(torch.cat([v.mean for v in values]), torch.cat([v.variance for v in values]))
        for name, values in parts.items()
    }


def _known_variance(log_w: Tensor) -> Tensor:
    """That of `iwae` of joint weights, of which one may outweigh all others: their spread then says nothing, nan."""
    few = effective_sample_size(log_w) < MIN_ESS
    return torch.where(few, math.nan, iwae_variance(log_w))


def monitor_elbo(pair: nn.Module, x: Tensor, given: Tensor | None = None, seed: int = 0) -> dict[str, float]:
    """The number to follow during training, nats per data point: {"elbo": one draw for each datum, always of the same
    noise}, or {"reconstruction"} where the guide is a point; with {"evidence"} where the model knows it."""
    with eval_mode(pair, seed):
        seen = inspect_pair(pair, arguments(pair, x, given))
        drawn = draws(pair, x, given, GLOBAL_DRAWS if seen.has_global_latent else 1)
        exact = log_evidence(pair, x, given)
    result = {"elbo": drawn["elbo"]} if not seen.delta_sites else {"reconstruction": drawn["likelihood"]}
    if exact is not None:
        result["evidence"] = exact.reshape(1, -1)
    return {name: (value.mean(0).sum() / len(x)).item() for name, value in result.items()}


def _kl(q: dist.Distribution, p: dist.Distribution, value: Tensor, closed: bool) -> Tensor:
    """KL(q || p) in closed form, where that holds and torch knows it, else log q / p of a draw of q; nats, of the batch
    shape that both have."""
    try:
        if closed:
            return kl_divergence(q, p)
    except NotImplementedError:
        pass
    return q.log_prob(value) - p.log_prob(value)


def kl_per_latent(pair: nn.Module, x: Tensor, given: Tensor | None = None, seed: int = 0) -> dict[str, list[float]]:
    """KL(guide || prior) of every coordinate of every local continuous latent, averaged over x, nats per data point.

    In closed form where torch knows it and the guide draws in the order of the model, else from one draw for each
    datum. Where prior or guide ties coordinates together (a full covariance) there is one number for the whole site.
    """
    totals: dict[str, Tensor] = {}
    with eval_mode(pair, seed):
        for start in range(0, len(x), ROWS):
            part = slice(start, start + ROWS)
            args = Batch(x, given)[part].args(pair)
            model, guide = importance_traces(pair, args, torch.arange(start, start + len(args[0]), device=x.device))
            kept, below, closed = (
                enumerated_sites(model, guide)[0],
                children_of_enumerated(model, guide),
                same_order(model, guide),
            )
            cases = sum((guide.nodes[name]["log_prob"] for name in kept), x.new_zeros(len(args[0]))).exp()
            for name, q in latent_sites(guide).items():
                if not is_local(q) or q["fn"].support.is_discrete or name in below:
                    continue
                p, q, value, mask = model.nodes[name]["fn"], q["fn"], q["value"], q["mask"]
                batch_dims = max(len(p.batch_shape), len(q.batch_shape))
                kl = _kl(*independent_factors(q, p), value, closed)
                coordinates = kl.dim() - batch_dims
                if mask is not None:
                    mask = torch.as_tensor(mask, device=kl.device)
                    kl = torch.where(mask.reshape(*mask.shape, *[1] * coordinates), kl, 0.0)
                kl = cases.reshape(*cases.shape, *[1] * coordinates) * kl
                while kl.dim() > 1 + coordinates:  # averaged over the enumerated cases, under the guide
                    kl = kl.sum(0)
                kl = kl.reshape(len(args[0]), -1).sum(0)
                totals[name] = totals.get(name, 0) + kl
    return {name: (total / len(x)).tolist() for name, total in totals.items()}


def collapsed(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> list[str]:
    """The local continuous latents that say nothing of x: every coordinate of theirs has less than FAINT nats of KL."""
    with eval_mode(pair):
        seen = inspect_pair(pair, arguments(pair, x, given))
    if seen.delta_sites or not seen.continuous_sites:
        return []
    return [name for name, kl in kl_per_latent(pair, x, given).items() if max(kl) < FAINT]


def evaluate(
    pair: nn.Module,
    x: Tensor,
    given: Tensor | None = None,
    particles: int = 16,
    seed: int = 0,
    held_out: bool = True,
    at_a_time: int = ROWS,
) -> dict:
    """Bounds and diagnostics of the pair on x, always at beta = 1 and without dropout.

    :param particles: draws of the guide for each datum; also the k of IWAE-k
    :param held_out: are these other data than the pair was fitted to?
    :param at_a_time: rows, data times draws, that are evaluated together: what bounds the memory
    :return: "elbo", "iwae" (with its k), "evidence" where the model knows it, "reconstruction" (the expected
        log-likelihood), "kl" and "kl_per_latent", "active_units"; every number a dictionary of value, standard
        error over data (se) and Monte Carlo at fixed data (mc_se), n and unit. What has no value is left out and
        has its reason under "undefined"; an "iwae" of fewer than FEWEST effective joint draws has no mc_se
    """
    n, result, undefined = len(x), {}, {}
    with eval_mode(pair, seed):
        args = arguments(pair, x, given)
        seen, exact = inspect_pair(pair, args), log_evidence(pair, x, given)
    if exact is not None:
        result["evidence"] = _estimate(exact.reshape(1, -1), n, exact=True)
    if held_out and not seen.has_global_latent and seen.is_per_data_point:
        reason = "the guide has parameters of its own for each datum it was fitted to, and none for these"
        return result | {"undefined": dict.fromkeys(("elbo", "iwae", "kl", "reconstruction"), reason)}
    with eval_mode(pair, seed):
        drawn = _drawn(pair, x, given, particles, at_a_time)
    result["reconstruction"] = drawn["reconstruction"].estimate(n, particles=particles)
    if seen.has_global_latent:
        undefined["se"] = "a latent is global: the data are dependent, the bounds are joint, divided by n"
    if seen.delta_sites:
        reason = (
            f"the guide of {', '.join(seen.delta_sites)} is a point (Delta): it has no density, so there is no bound"
        )
        return result | {"undefined": undefined | dict.fromkeys(("elbo", "iwae", "kl"), reason)}
    result["elbo"] = drawn["elbo"].estimate(n, particles=particles)
    result["kl"] = drawn["kl"].estimate(n, particles=particles)
    result["iwae"] = drawn["iwae"].estimate(n, k=particles)
    if seen.continuous_sites and not seen.has_global_latent:
        result["kl_per_latent"] = kl_per_latent(pair, x, given, seed)
    if seen.continuous_sites and not seen.has_global_latent and n > 1:
        codes = [code.reshape(n, -1) for name, code in encode(pair, x, given).items() if name in seen.continuous_sites]
        result["active_units"] = sum(int((code.var(0) > ACTIVE).sum()) for code in codes)
    return result | ({"undefined": undefined} if undefined else {})
