"""Bounds by importance weights: Renyi's bounds, IWAE-K, its doubly reparametrised gradient, reweighted wake-sleep.

With log w = log p(x, z) - log q(z | x) and K draws of z for each data point, Renyi's bound of order alpha is

    L_alpha = 1 / (1 - alpha) log 1/K sum_k w_k^(1 - alpha).

The order 0 is IWAE-K, and the limit alpha -> 1 is the ELBO. Pyro's RenyiELBO draws the K particles along a new
dimension, which every network has to broadcast over. Here the rows of the minibatch are repeated K times along the
plate instead, so no network has to, and the bound is per data point. Where a latent is global, the K draws are made
Pyro's way, and the weights are joint over all the data. Pyro's ReweightedWakeSleep always has joint weights.

    Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016.
    Li and Turner, Renyi divergence variational inference, 2016.
    Tucker, Lawson, Gu and Maddison, Doubly reparameterized gradient estimators for Monte Carlo objectives, 2018.
    Bornschein and Bengio, Reweighted wake-sleep, 2015.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

import torch
from pyro import poutine
from pyro.infer import ELBO
from pyro.infer.enum import get_importance_trace
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from inference.errors import InferenceError
from inference.fit.objectives.checks import (
    Checked,
    Requirement,
    require_density,
    require_no_enumeration,
    require_reparametrised,
    require_unset_draws,
)
from inference.fit.objectives.score_function import Unreparametrised
from inference.pairs.handlers import TileRows
from inference.pairs.run import repeat
from inference.pairs.sites import Site, is_local, latent_sites, observed_sites

__all__ = ["DReG_ELBO", "Renyi_ELBO", "WakeSleep_ELBO", "renyi"]


class DetachDraws(Messenger):
    """Replaces each draw that depends on parameters by a leaf of the same value, and keeps the draw at the site."""

    def _pyro_sample(self, msg: Site) -> None:
        if msg["is_observed"] or site_is_subsample(msg):
            return
        msg["infer"]["_is_preset"] = msg["value"] is not None
        draw = msg["fn"](*msg["args"], **msg["kwargs"])
        msg["value"] = draw.detach()
        if draw.requires_grad:
            msg["infer"]["_draw"] = draw
            msg["value"].requires_grad_()


def renyi(log_w: Tensor, alpha: float) -> Tensor:
    """Compute Renyi's bound of order alpha from log-weights; the ELBO at alpha = 1, IWAE-K at alpha = 0.

    :param log_w: (k, ...) log-weights in nats
    :param alpha: the order
    :return: (...) in nats
    """
    if alpha == 1:
        return log_w.mean(0)
    return (((1 - alpha) * log_w).logsumexp(0) - math.log(len(log_w))) / (1 - alpha)


def _of_rows(scale: Tensor | float, n: int) -> Tensor | float:
    """Return the scale of each of n rows, (n,), from that of their repetitions; a scale without rows as it is."""
    return scale[:n] if torch.is_tensor(scale) and scale.dim() else scale


class Renyi_ELBO(Checked, ELBO):  # noqa: N801 (Pyro's names)
    """Renyi's bound of K draws for each data point, or for all data together where a latent is global.

    :param draws: K
    :param alpha: the order: 0 is IWAE-K
    :param num_particles: number of bounds that are averaged
    :param vectorize_particles: draw along a new dimension to the left; needed where a latent is global
    """

    requirements: ClassVar[tuple[Requirement, ...]] = (require_density, require_no_enumeration, require_reparametrised)

    def __init__(self, draws: int, alpha: float = 0.0, num_particles: int = 1, **kwargs: Any):
        super().__init__(num_particles=draws * num_particles, **kwargs)
        self.draws, self.alpha = draws, alpha

    def _get_trace(self, model, guide, args, kwargs) -> tuple[poutine.Trace, poutine.Trace]:
        model, guide = get_importance_trace("flat", self.max_plate_nesting, model, self.handler(guide), args, kwargs)
        require_unset_draws(guide)
        self.check_if_validating(model, guide)
        return model, guide

    def handler(self, guide: Callable[..., None]) -> Callable[..., None]:
        """Return the guide under the handler that this estimator needs."""
        return guide

    def _log_densities(self, model, guide, args, kwargs) -> tuple[Tensor, Tensor, Tensor | float, poutine.Trace]:
        """Return log p(x, z), log q(z | x), the scale of each data point, and the trace of the guide.

        The log-densities are (K, particles, n) and the scale is (n,) or a number. Where a latent is global there is one
        log-density for all the data: n is 1, and the scale is 1.
        """
        n, k = len(args[0]), self.num_particles
        total = kwargs.get("total") or n
        if self.vectorize_particles:
            if total != n:
                raise InferenceError(
                    f"a latent is global, so a weight needs all {total} data points: a minibatch of {n} has none.",
                    ("batch_size", str(total)),
                )
            traces, scale = next(self._get_traces(model, guide, args, kwargs)), 1.0
        else:
            with TileRows(n, k):
                traces = self._get_trace(model, guide, repeat(args, k), kwargs | {"total": total * k})
            if not all(is_local(site) for trace in traces for site in latent_sites(trace).values()):
                raise InferenceError("a latent is global: its draws need a new dimension.", ("vectorize", "True"))
            scale = next(iter(observed_sites(traces[0]).values()))["scale"]  # total / n, times the row's weight
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
        """Return minus the bound scaled to all the data, a scalar in nats, whose gradient is that of the estimator."""
        log_p, log_q, scale, _ = self._log_densities(model, guide, args, kwargs)
        return -(scale * renyi(log_p - log_q, self.alpha).mean(0)).sum()


class DReG_ELBO(Renyi_ELBO):  # noqa: N801
    """IWAE-K with the doubly reparametrised gradient of the guide, whose signal-to-noise ratio does not fall with K.

    For normalised weights v_k the gradient of IWAE-K is E sum_k v_k d log w_k. For the guide's parameters phi it is

        E sum_k v_k^2 (d log w_k / d z_k) (d z_k / d phi),

    without the derivative of log q at fixed z. Where the KL has weight beta, only the share beta of log q is in w, and
    (1 - beta) v_k + beta v_k^2 replaces v_k^2.

    The graph is cut at the draws: the gradient at each draw comes from the graph after it, and is passed on through the
    draw. Where draws depend on earlier draws, the chain is followed backwards.
    """

    def handler(self, guide: Callable[..., None]) -> Callable[..., None]:
        """Return the guide with its draws detached."""
        return DetachDraws()(guide)

    def differentiable_loss(self, model, guide, *args, **kwargs) -> Tensor:
        """Return minus IWAE-K scaled to all the data, a scalar in nats, whose gradient is that of the estimator."""
        log_p, log_q, scale, trace = self._log_densities(model, guide, args, kwargs)
        log_w = log_p - log_q
        v, bound = log_w.detach().softmax(0), renyi(log_w.detach(), 0.0)
        nodes: Iterable[Site] = trace.nodes.values()
        sites = [site for site in nodes if site["type"] == "sample" and "_draw" in site["infer"]]
        draws, leaves = [site["infer"]["_draw"] for site in sites], [site["value"] for site in sites]
        grad = partial(torch.autograd.grad, allow_unused=True, materialize_grads=True, retain_graph=True)
        beta = (_of_rows(sites[0]["scale"], v.shape[-1]) if sites else 1.0) / scale
        factor = (1 - beta) * v + beta * v.square()
        gradients = list(grad((scale * factor * log_w).sum(), leaves))
        for i in range(len(draws) - 1, 0, -1):
            earlier = grad(draws[i], leaves[:i], gradients[i])
            gradients[:i] = [g + e for g, e in zip(gradients[:i], earlier, strict=True)]
        carried = sum((g * z).sum() for g, z in zip(gradients, draws, strict=True))
        surrogate = ((scale * v * log_p).sum() + carried) / v.shape[1]
        return surrogate.detach() - surrogate - (scale * bound.mean(0)).sum()


class WakeSleep_ELBO(Renyi_ELBO):  # noqa: N801
    """Reweighted wake-sleep: the gradient of the model is that of IWAE-K, and the guide is fitted to the posterior.

    For normalised weights v_k the model ascends sum_k v_k log p(x, z_k), and the guide sum_k v_k log q(z_k | x). The
    latter lowers KL(p(z | x) || q), not KL(q || p(z | x)): the wake phase of the guide. No draw has to be
    reparametrised. The loss is minus IWAE-K.
    """

    requirements: ClassVar[tuple[Requirement, ...]] = (require_density, require_no_enumeration)

    def __init__(self, draws: int = 10, **kwargs: Any):
        super().__init__(draws, **kwargs)

    def handler(self, guide: Callable[..., None]) -> Callable[..., None]:
        """Return the guide without gradients through its draws."""
        return Unreparametrised()(guide)

    def differentiable_loss(self, model, guide, *args, **kwargs) -> Tensor:
        """Return minus IWAE-K scaled to all the data, a scalar in nats, whose gradient is that of the estimator."""
        log_p, log_q, scale, _ = self._log_densities(model, guide, args, kwargs)
        log_w = (log_p - log_q).detach()
        surrogate = (scale * (log_w.softmax(0) * (log_p + log_q)).sum(0).mean(0)).sum()
        return surrogate.detach() - surrogate - (scale * renyi(log_w, 0.0).mean(0)).sum()
