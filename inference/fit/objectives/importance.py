"""Bounds by importance weights: Renyi's bounds, IWAE-K, means and mixtures of it, reweighted wake-sleep.

With log w = log p(x, z) - log q(z | x) and K draws of z for each data point, Renyi's bound of order alpha is

    L_alpha = 1 / (1 - alpha) log 1/K sum_k w_k^(1 - alpha).

The order 0 is IWAE-K, and the limit alpha -> 1 is the ELBO. Pyro's RenyiELBO draws the K particles along a new
dimension, which every network has to broadcast over. Here the rows of the minibatch are repeated K times along the
plate instead, so no network has to, and the bound is per data point. Where a latent is global, the K draws are made
Pyro's way, and the weights are joint over all the data. Pyro's ReweightedWakeSleep always has joint weights.

Tighter bounds have a noisier gradient of the guide: the signal-to-noise ratio of M averaged bounds of K draws each is
of order sqrt(M K) for the model and sqrt(M / K) for the guide. MIWAE averages, CIWAE mixes IWAE-K with the ELBO.

    Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016.
    Li and Turner, Renyi divergence variational inference, 2016.
    Bornschein and Bengio, Reweighted wake-sleep, 2015.
    Rainforth, Kosiorek, Le, Maddison, Igl, Wood and Teh, Tighter variational bounds are not necessarily better, 2018.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from pyro import poutine
from pyro.infer import ELBO
from pyro.infer.enum import get_importance_trace
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

__all__ = ["CIWAE_ELBO", "MIWAE_ELBO", "Renyi_ELBO", "WakeSleep_ELBO", "drawn_sites", "of_rows", "renyi"]


def renyi(log_w: Tensor, alpha: float) -> Tensor:
    """Compute Renyi's bound of order alpha from log-weights; the ELBO at alpha = 1, IWAE-K at alpha = 0.

    :param log_w: (k, ...) log-weights in nats
    :param alpha: the order
    :return: (...) in nats
    """
    if alpha == 1:
        return log_w.mean(0)
    return (((1 - alpha) * log_w).logsumexp(0) - math.log(len(log_w))) / (1 - alpha)


def of_rows(scale: Tensor | float, n: int) -> Tensor | float:
    """Return the scale of each of n rows, (n,), from that of their repetitions; a scale without rows as it is."""
    return scale[:n] if torch.is_tensor(scale) and scale.dim() else scale


def drawn_sites(trace: poutine.Trace) -> list[Site]:
    """Return the sites of a guide that are draws, auxiliary ones too, and no factors."""
    nodes: Iterable[Site] = trace.nodes.values()
    return [site for site in nodes if site["type"] == "sample" and not site["is_observed"]]


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
        self.needs_all_data = draws > 1  # where a latent is global: the logarithm of a mean is no sum over data

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
        log-density for all the data: n is 1, and the scale is 1. A factor of the guide is no density of a draw: it
        counts, with a minus, as a term of the model.
        """
        n = len(args[0])
        total = kwargs.get("total") or n
        scale: Tensor | float = 1.0
        if self.vectorize_particles:
            if total != n and self.needs_all_data:
                raise InferenceError(
                    f"a latent is global, so a weight needs all {total} data points: a minibatch of {n} has none.",
                    ("batch_size", str(total)),
                )
            traces = next(self._get_traces(model, guide, args, kwargs))
        else:
            traces, scale = self._traces_of_rows(model, guide, args, kwargs)
        of_model, of_guide = traces[0].nodes.values(), traces[1].nodes.values()
        log_p = self._total([site for site in of_model if site["type"] == "sample"], scale)
        if factors := [site for site in of_guide if site["type"] == "sample" and site["is_observed"]]:
            log_p = log_p - self._total(factors, scale)
        log_q = self._total(drawn_sites(traces[1]), scale)
        return log_p, log_q, of_rows(scale, n), traces[1]

    def _traces_of_rows(self, model, guide, args, kwargs) -> tuple[tuple[poutine.Trace, ...], Tensor | float]:
        """Return the traces of model and guide with every row repeated K times, and the scale of these rows."""
        n, k = len(args[0]), self.num_particles
        with TileRows(n, k):
            traces = self._get_trace(model, guide, repeat(args, k), kwargs | {"total": (kwargs.get("total") or n) * k})
        if not all(is_local(site) for trace in traces for site in latent_sites(trace).values()):
            raise InferenceError("a latent is global: its draws need a new dimension.", ("vectorize", "True"))
        return traces, next(iter(observed_sites(traces[0]).values()))["scale"]  # total / n, times the row's weight

    def _total(self, sites: Iterable[Site], scale: Tensor | float = 1.0, key: str = "log_prob") -> Tensor:
        """Return the sum of the log-densities of sites, (K, particles, n).

        :param scale: of each of the repeated rows, by which it is divided where all latents are local
        :param key: "log_prob", or "unscaled_log_prob": without the weights of the KL and of rows
        """
        k = self.num_particles
        total = sum(
            site[key].reshape(k, -1).sum(-1) if self.vectorize_particles else site[key] / scale for site in sites
        )
        return total.reshape(self.draws, k // self.draws, -1)

    def bound(self, log_w: Tensor) -> Tensor:
        """Return the bound of log-weights (K, ...), (...) in nats."""
        return renyi(log_w, self.alpha)

    def differentiable_loss(self, model, guide, *args, **kwargs) -> Tensor:
        """Return minus the bound scaled to all the data, a scalar in nats, whose gradient is that of the estimator."""
        log_p, log_q, scale, _ = self._log_densities(model, guide, args, kwargs)
        return -(scale * self.bound(log_p - log_q).mean(0)).sum()


class MIWAE_ELBO(Renyi_ELBO):  # noqa: N801
    """The mean of M bounds IWAE-K: looser than IWAE of all M K draws, with a less noisy gradient of the guide.

    Rainforth et al., Tighter variational bounds are not necessarily better, 2018.
    """

    def __init__(self, bounds: int, draws: int, num_particles: int = 1, **kwargs: Any):
        super().__init__(draws, num_particles=bounds * num_particles, **kwargs)


class CIWAE_ELBO(Renyi_ELBO):  # noqa: N801
    """A mixture of bounds of the same K draws: `share` ELBO + (1 - `share`) IWAE-K.

    Rainforth et al., Tighter variational bounds are not necessarily better, 2018.
    """

    def __init__(self, share: float, draws: int, **kwargs: Any):
        super().__init__(draws, **kwargs)
        self.share = share

    def bound(self, log_w: Tensor) -> Tensor:
        """Return the mixture of both bounds of log-weights (K, ...), (...) in nats."""
        return self.share * renyi(log_w, 1.0) + (1 - self.share) * renyi(log_w, 0.0)


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
