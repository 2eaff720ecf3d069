"""Objectives by name: Pyro's own estimators of the ELBO, and bounds of several draws for each datum.

With log w = log p(x, z) - log q(z | x) and K draws of z for every datum, the bounds are Renyi's,

    L_alpha = 1 / (1 - alpha) log 1/K sum_k w_k^(1 - alpha),

of which alpha = 0 is IWAE-K and the limit alpha -> 1 is the ELBO. Pyro's RenyiELBO has the same bounds with K draws
along a new dimension, which every network has to carry; here the rows of the minibatch are repeated K times along the
plate, so none has to, and the bound is per data point. Where a latent is global the K draws are made Pyro's way, and the
weights are joint over all the data. Pyro's ReweightedWakeSleep has joint weights always.

Every estimator gives its loss, minus the bound scaled to all the data, as one tensor whose gradient is the estimator's.

    Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016.
    Li and Turner, Renyi divergence variational inference, 2016.
    Tucker, Lawson, Gu and Maddison, Doubly reparameterized gradient estimators for Monte Carlo objectives, 2018.
    Bornschein and Bengio, Reweighted wake-sleep, 2015.
"""

import math
from collections.abc import Callable
from contextlib import suppress

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer import ELBO, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO
from pyro.infer.enum import get_importance_trace
from pyro.infer.util import is_validation_enabled, torch_item
from pyro.ops import packed
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import kl_divergence

from inference.errors import InferenceError
from inference.pairs.handlers import TileRows
from inference.pairs.info import PairInfo
from inference.pairs.run import repeat
from inference.pairs.sites import (
    TRANSFORMED,
    children_of_enumerated,
    independent_factors,
    is_delta,
    is_flat,
    is_local,
    latent_sites,
    layers,
    observed_sites,
    same_order,
)


class TraceEnumMeanField_ELBO(TraceEnum_ELBO):  # noqa: N801 (Pyro's way)
    """TraceEnum_ELBO with the KL of sampled sites in closed form where Pyro knows it."""

    def _get_trace(self, model, guide, args, kwargs) -> tuple[poutine.Trace, poutine.Trace]:
        model, guide = super()._get_trace(model, guide, args, kwargs)
        below = children_of_enumerated(model, guide)
        for name, q in latent_sites(guide).items():
            if q["infer"].get("_enumerate_dim") is None and q["fn"].has_rsample and name not in below:
                try:
                    kl = scale_and_mask(kl_divergence(q["fn"], model.nodes[name]["fn"]), q["scale"], q["mask"])
                except NotImplementedError:
                    continue
                symbols = q["infer"]["_dim_to_symbol"]
                model.nodes[name]["packed"]["log_prob"] = packed.pack(-kl, symbols)
                q["packed"]["log_prob"] = packed.pack(kl.new_zeros(kl.shape), symbols)
        return model, guide


class FreeBits_ELBO(TraceMeanField_ELBO):  # noqa: N801
    """TraceMeanField_ELBO that charges each dimension of a latent with at least so many nats of KL.

    The KL of a dimension is averaged over the minibatch and does not count below the free nats, so nothing pushes it
    there: the remedy for dimensions that collapse onto the prior at the start. Minus the loss stays a lower bound,

        E_q log p(x | z) - sum_j max(nats, KL_j) <= ELBO.

    Kingma et al., Improved variational inference with inverse autoregressive flow, 2016.

    :param nats: free of charge for each datum, for all data together where a latent is global, in every dimension that
        the guide draws independently of the others; in all dimensions together where it does not
    """

    def __init__(self, nats: float, **kwargs):
        super().__init__(**kwargs)
        self.nats = nats

    def _get_trace(self, model, guide, args, kwargs) -> tuple[poutine.Trace, poutine.Trace]:
        model, guide = super()._get_trace(model, guide, args, kwargs)
        _check(type(self), model, guide)
        return model, guide

    def _differentiable_loss_particle(self, model: poutine.Trace, guide: poutine.Trace) -> tuple[float, Tensor]:
        loss, surrogate = super()._differentiable_loss_particle(model, guide)
        for name, q in latent_sites(guide).items():
            if name in model.nodes:
                charged = self._charged(q, model.nodes[name])
                loss, surrogate = loss + torch_item(charged), surrogate + charged
        return loss, surrogate

    def _charged(self, q: dict, p: dict) -> Tensor:
        """What a site is charged beyond its KL, in nats, scaled to all the data."""
        of_q, of_p = independent_factors(q["fn"], p["fn"])
        try:
            kl = kl_divergence(of_q, of_p)
        except NotImplementedError:
            raise InferenceError(
                f"free bits need the KL of {q['name']} in closed form, and Pyro knows none of {type(of_q).__name__} "
                f"and {type(of_p).__name__}: warm the KL up instead, --warmup EPOCHS."
            ) from None
        shape = q["fn"].batch_shape
        weights = scale_and_mask(kl.new_ones(shape), q["scale"], q["mask"])
        dimensions = kl.reshape(*shape, -1)
        of_all = (weights.unsqueeze(-1) * dimensions).reshape(-1, dimensions.shape[-1]).sum(0)  # (dimensions,)
        return (self.nats * weights.sum() - of_all).clamp(min=0).sum()


class Unreparametrised(Messenger):
    """Draws with the same noise, but no gradient flows through them: Pyro then takes that of their score."""

    def _pyro_sample(self, msg) -> None:
        if msg["is_observed"] or site_is_subsample(msg) or not msg["fn"].has_rsample:
            return
        wrapped = list(layers(msg["fn"], TRANSFORMED))
        if isinstance(wrapped[-1], dist.Delta):
            return
        msg["infer"]["_stated"] = msg["value"] is not None
        with torch.no_grad():
            msg["value"] = msg["fn"](*msg["args"], **msg["kwargs"])
        for layer in wrapped:
            with suppress(AttributeError):  # some ask the layer below
                layer.has_rsample = False


class Cut(Messenger):
    """Cuts the graph at every draw that depends on weights: what comes after is computed from a leaf of the same value,
    and the draw is kept beside it."""

    def _pyro_sample(self, msg) -> None:
        if msg["is_observed"] or site_is_subsample(msg):
            return
        msg["infer"]["_stated"] = msg["value"] is not None
        draw = msg["fn"](*msg["args"], **msg["kwargs"])
        msg["value"] = draw.detach()
        if draw.requires_grad:
            msg["infer"]["_draw"] = draw
            msg["value"].requires_grad_()


def _check_drawn(guide: poutine.Trace) -> None:
    stated = [name for name, site in latent_sites(guide).items() if site["infer"].get("_stated")]
    if stated:
        raise InferenceError(
            f"the guide draws {', '.join(stated)} itself and only states it, so its gradient cannot be changed: this "
            "objective needs a guide that draws by pyro.sample (of vrnn: vrnn:steps)."
        )


class Score_ELBO(Trace_ELBO):  # noqa: N801
    """Trace_ELBO without reparametrisation: the gradient of the guide is E_q[log w d log q], noisy but general."""

    def _get_trace(self, model, guide, args, kwargs) -> tuple[poutine.Trace, poutine.Trace]:
        model, guide = super()._get_trace(model, Unreparametrised()(guide), args, kwargs)
        _check_drawn(guide)
        _check(type(self), model, guide)
        return model, guide


class Graph_ELBO(TraceGraph_ELBO):  # noqa: N801
    """TraceGraph_ELBO as one tensor: each draw that is not reparametrised is charged with its own consequences only.

    Where all draws are reparametrised it is Trace_ELBO.
    """

    def differentiable_loss(self, model, guide, *args, **kwargs) -> Tensor:
        elbo, surrogate = self._loss_and_surrogate_loss(model, guide, args, kwargs)
        return surrogate - (surrogate + elbo).detach()


def renyi(log_w: Tensor, alpha: float) -> Tensor:
    """Renyi's bound of order alpha from (k, ...) log-weights, (...) in nats; the ELBO at alpha = 1."""
    if alpha == 1:
        return log_w.mean(0)
    return (((1 - alpha) * log_w).logsumexp(0) - math.log(len(log_w))) / (1 - alpha)


def _of_rows(scale: Tensor | float, n: int) -> Tensor | float:
    """The scale of each of n data, (n,), of one for each of their repetitions; or the number that it is for all."""
    return scale[:n] if torch.is_tensor(scale) and scale.dim() else scale


class Renyi_ELBO(ELBO):  # noqa: N801
    """Renyi's bound of K draws for each datum, or for all data together where a latent is global.

    :param draws: K
    :param alpha: the order: 0 is IWAE-K
    :param num_particles: how many such bounds are averaged
    :param vectorize_particles: a latent is global: K draws to the left
    """

    def __init__(self, draws: int, alpha: float = 0.0, num_particles: int = 1, **kwargs):
        super().__init__(num_particles=draws * num_particles, **kwargs)
        self.draws, self.alpha = draws, alpha

    def _get_trace(self, model, guide, args, kwargs) -> tuple[poutine.Trace, poutine.Trace]:
        model, guide = get_importance_trace("flat", self.max_plate_nesting, model, self.handler(guide), args, kwargs)
        _check_drawn(guide)
        _check(type(self), model, guide)
        return model, guide

    def handler(self, guide: Callable) -> Callable:
        """The guide, with something done to its draws."""
        return guide

    def _log_densities(self, model, guide, args, kwargs) -> tuple[Tensor, Tensor, Tensor | float, poutine.Trace]:
        """log p(x, z) and log q(z | x), each (K, particles, n); the scale of each datum, (n,) or a number; the trace of
        the guide. Where a latent is global there is one number for all the data: n is 1, and the scale 1."""
        n, k = len(args[0]), self.num_particles
        total = kwargs.get("total") or n
        if self.vectorize_particles:
            if total != n:
                raise InferenceError(
                    f"a latent is global, so a weight is of all {total} data together: a minibatch of {n} has none. "
                    f"Use --batch-size {total}."
                )
            traces, scale = next(self._get_traces(model, guide, args, kwargs)), 1.0
        else:
            with TileRows(n, k):
                traces = self._get_trace(model, guide, repeat(args, k), kwargs | {"total": total * k})
            if not all(is_local(site) for trace in traces for site in latent_sites(trace).values()):
                raise InferenceError("a latent is global: its draws are made to the left (vectorize).")
            scale = next(iter(observed_sites(traces[0]).values()))["scale"]  # total / n, by the share of the row if any
        log_p, log_q = (
            sum(
                site["log_prob"].reshape(k, -1).sum(-1) if self.vectorize_particles else site["log_prob"] / scale
                for site in trace.nodes.values()
                if site["type"] == "sample"
            ).reshape(self.draws, k // self.draws, -1)
            for trace in traces
        )
        return log_p, log_q, _of_rows(scale, n), traces[1]

    def differentiable_loss(self, model, guide, *args, **kwargs) -> Tensor:
        log_p, log_q, scale, _ = self._log_densities(model, guide, args, kwargs)
        return -(scale * renyi(log_p - log_q, self.alpha).mean(0)).sum()


class DReG_ELBO(Renyi_ELBO):  # noqa: N801
    """IWAE-K with the doubly reparametrised gradient of the guide, whose signal does not drown as K grows.

    For the normalised weights v_k the gradient of IWAE-K is E sum_k v_k d log w_k. Of the guide's parameters phi it is

        E sum_k v_k^2 (d log w_k / d z_k) (d z_k / d phi),

    without the derivative of log q at fixed z; where the KL has the weight beta, only that share of log q is in w, and
    (1 - beta) v_k + beta v_k^2 stands for v_k^2. So the graph is cut at the draws: what comes after gives the gradient
    of each, and the draws carry it on. Of draws that depend on draws before them the chain is followed backwards.
    """

    def handler(self, guide: Callable) -> Callable:
        return Cut()(guide)

    def differentiable_loss(self, model, guide, *args, **kwargs) -> Tensor:
        log_p, log_q, scale, trace = self._log_densities(model, guide, args, kwargs)
        log_w = log_p - log_q
        v, bound = log_w.detach().softmax(0), renyi(log_w.detach(), 0.0)
        sites = [site for site in trace.nodes.values() if site["type"] == "sample" and "_draw" in site["infer"]]
        draws, leaves = [site["infer"]["_draw"] for site in sites], [site["value"] for site in sites]
        options = {"allow_unused": True, "materialize_grads": True, "retain_graph": True}
        beta = (_of_rows(sites[0]["scale"], v.shape[-1]) if sites else 1.0) / scale
        factor = (1 - beta) * v + beta * v.square()
        gradients = list(torch.autograd.grad((scale * factor * log_w).sum(), leaves, **options))
        for i in range(len(draws) - 1, 0, -1):
            earlier = torch.autograd.grad(draws[i], leaves[:i], gradients[i], **options)
            gradients[:i] = [g + e for g, e in zip(gradients[:i], earlier, strict=True)]
        carried = sum((g * z).sum() for g, z in zip(gradients, draws, strict=True))
        surrogate = ((scale * v * log_p).sum() + carried) / v.shape[1]
        return surrogate.detach() - surrogate - (scale * bound.mean(0)).sum()


class WakeSleep_ELBO(Renyi_ELBO):  # noqa: N801
    """Reweighted wake-sleep: the gradient of the model is that of IWAE-K, the guide is fitted to the posterior.

    For normalised weights v_k the model ascends sum_k v_k log p(x, z_k), and the guide sum_k v_k log q(z_k | x), which
    lowers KL(p(z | x) || q), not KL(q || p(z | x)): the wake phase of the guide. Nothing has to be reparametrised. The
    loss is minus IWAE-K.
    """

    def __init__(self, draws: int = 10, **kwargs):
        super().__init__(draws, **kwargs)

    def handler(self, guide: Callable) -> Callable:
        return Unreparametrised()(guide)

    def differentiable_loss(self, model, guide, *args, **kwargs) -> Tensor:
        log_p, log_q, scale, _ = self._log_densities(model, guide, args, kwargs)
        log_w = (log_p - log_q).detach()
        surrogate = (scale * (log_w.softmax(0) * (log_p + log_q)).sum(0).mean(0)).sum()
        return surrogate.detach() - surrogate - (scale * renyi(log_w, 0.0).mean(0)).sum()


OBJECTIVES: dict[str, tuple[type[ELBO], str]] = {
    "trace": (Trace_ELBO, "every term of the ELBO sampled"),
    "analytic": (TraceMeanField_ELBO, "KL(guide || prior) in closed form where Pyro knows it"),
    "free-bits:NATS": (FreeBits_ELBO, "analytic, with NATS of KL free of charge in every dimension of a latent"),
    "enum": (TraceEnum_ELBO, "discrete latent sites marked for enumeration summed out"),
    "enum_analytic": (TraceEnumMeanField_ELBO, "the same, with KL(guide || prior) of the others in closed form"),
    "graph": (Graph_ELBO, "trace, with less noise where draws are not reparametrised and depend on each other"),
    "score": (Score_ELBO, "trace without reparametrisation: the gradient of the score function"),
    "iwae:K": (Renyi_ELBO, "the importance weighted bound of K draws for each datum"),
    "dreg:K": (DReG_ELBO, "the same bound with a doubly reparametrised gradient of the guide"),
    "renyi:ALPHA:K": (Renyi_ELBO, "Renyi's bound of order ALPHA of K draws for each datum: 0 is iwae:K"),
    "wake-sleep": (WakeSleep_ELBO, "reweighted wake-sleep, wake phases only, with 10 draws for each datum"),
    "wake-sleep:K": (WakeSleep_ELBO, "the same with K draws"),
}
_SYMBOLS: dict[str, tuple[str, Callable[[str], float]]] = {
    "K": ("draws", int),
    "ALPHA": ("alpha", float),
    "NATS": ("nats", float),
}


def parse_objective(name: str) -> tuple[type[ELBO], dict[str, float]]:
    """The estimator called `name`, such as "iwae:5" for "iwae:K", and its parameters by keyword.

    :raises InferenceError: if there is none of that name, or a parameter is out of range
    """
    head, *texts = name.split(":")
    for form, (kind, _) in OBJECTIVES.items():
        known, *symbols = form.split(":")
        if known != head or len(symbols) != len(texts):
            continue
        try:
            values = {_SYMBOLS[s][0]: _SYMBOLS[s][1](text) for s, text in zip(symbols, texts, strict=True)}
        except ValueError:
            break
        if values.get("draws", 1) < 1:
            raise InferenceError(f"K, the number of draws, must be at least 1: {name} has {values['draws']}.")
        if values.get("alpha") == 1:
            raise InferenceError(f"{name}: Renyi's bound of order 1 is the ELBO: use trace.")
        if not 0 <= values.get("alpha", 0) < math.inf:
            raise InferenceError(f"{name}: ALPHA is finite and not negative; below 0 there is no lower bound.")
        if not 0 <= values.get("nats", 0) < math.inf:
            raise InferenceError(f"{name}: NATS, free in every dimension, are finite and not negative.")
        return kind, values
    raise InferenceError(f"no objective {name!r}: it is one of {', '.join(OBJECTIVES)}.")


def objective(name: str, particles: int = 1, vectorize: bool = False) -> ELBO:
    """The estimator called `name`, averaging over that many draws of the guide, or of the bounds of K draws.

    :param vectorize: make the draws at once, along a new dimension to the left, which the pair has to broadcast over;
        needed by bounds of K draws where a latent is global
    :raises InferenceError: if there is none of that name, or a parameter is out of range
    """
    kind, values = parse_objective(name)
    return kind(num_particles=particles, max_plate_nesting=1, vectorize_particles=vectorize, **values)


def check_objective(name: str, seen: PairInfo) -> None:
    """:raises InferenceError: if the objective cannot fit the pair that is `seen` in training mode, with the reason"""
    _check(parse_objective(name)[0], seen.model, seen.guide, always=True)


def _check(kind: type[ELBO], model: poutine.Trace, guide: poutine.Trace, always: bool = False) -> None:
    """Refuses what a kind cannot do, as Pyro checks traces: not within a graph, for values are read."""
    if issubclass(kind, TraceMeanField_ELBO | TraceEnumMeanField_ELBO) and not same_order(model, guide):
        raise InferenceError(
            f"the guide draws {', '.join(latent_sites(guide))} in this order, and the model in another: a KL in closed "
            "form holds in the order of the model alone. Draw in that, or use --objective trace, or enum for a sum."
        )
    if not (always or is_validation_enabled()) or not issubclass(kind, Score_ELBO | Renyi_ELBO | FreeBits_ELBO):
        return
    latents = latent_sites(guide)
    points = [name for name, site in latents.items() if is_delta(site) and not is_flat(site)]
    if points:
        raise InferenceError(
            f"the guide of {', '.join(points)} is a point (Delta): it has no density, so no score, weights or KL. "
            "Use --objective trace."
        )
    summed = {name for name, site in (latent_sites(model) | latents).items() if site["infer"].get("enumerate")}
    drawn = [name for name, site in latents.items() if not site["fn"].has_rsample]
    if (summed or drawn) and issubclass(kind, FreeBits_ELBO):
        raise InferenceError(
            f"{', '.join(sorted(summed | {*drawn}))} is discrete or not reparametrised, and free bits are of a KL in "
            "closed form: warm the KL up instead, --warmup EPOCHS."
        )
    if summed:
        raise InferenceError(
            f"{', '.join(sorted(summed))} is to be summed out: the guide of it would cancel in a weight, and learn "
            "nothing, and its score is what the sum avoids. Use --objective enum."
        )
    if drawn and issubclass(kind, Renyi_ELBO) and kind is not WakeSleep_ELBO:
        raise InferenceError(
            f"draws of {', '.join(drawn)} are not reparametrised, and this gradient goes through the draws. "
            "Use --objective wake-sleep:K."
        )
