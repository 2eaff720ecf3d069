"""Gradients of the guide through its draws alone: sticking the landing, DReG, and PIWAE.

The graph of a loss is cut at the draws. The gradient at each draw comes from the graph after it, and is passed on
through the draw, so an estimator chooses for itself what the guide's parameters in log q(z | x) add to it.

    Roeder, Wu and Duvenaud, Sticking the landing: simple, lower-variance gradient estimators for variational
        inference, 2017.
    Tucker, Lawson, Gu and Maddison, Doubly reparameterized gradient estimators for Monte Carlo objectives, 2018.
    Rainforth, Kosiorek, Le, Maddison, Igl, Wood and Teh, Tighter variational bounds are not necessarily better, 2018.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from inference.fit.objectives.importance import Renyi_ELBO, drawn_sites, of_rows, renyi
from inference.pairs.sites import Site

__all__ = ["PIWAE_ELBO", "STL_ELBO", "DReG_ELBO"]


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


def _through_draws(trace: poutine.Trace, of_leaves: Tensor) -> Tensor:
    """Return a scalar whose gradient is that of `of_leaves` through the detached draws of a guide, and through no more.

    Where draws depend on earlier draws, the chain is followed backwards.

    :param of_leaves: scalar function of the draws under `DetachDraws`
    """
    sites = [site for site in drawn_sites(trace) if "_draw" in site["infer"]]
    draws, leaves = [site["infer"]["_draw"] for site in sites], [site["value"] for site in sites]
    grad = partial(torch.autograd.grad, allow_unused=True, materialize_grads=True, retain_graph=True)
    gradients = list(grad(of_leaves, leaves))
    for i in range(len(draws) - 1, 0, -1):
        earlier = grad(draws[i], leaves[:i], gradients[i])
        gradients[:i] = [g + e for g, e in zip(gradients[:i], earlier, strict=True)]
    return sum(((g * z).sum() for g, z in zip(gradients, draws, strict=True)), of_leaves.new_zeros(()))


class DReG_ELBO(Renyi_ELBO):  # noqa: N801 (Pyro's names)
    """IWAE-K with the doubly reparametrised gradient of the guide, whose signal-to-noise ratio does not fall with K.

    For normalised weights v_k the gradient of IWAE-K is E sum_k v_k d log w_k. For the guide's parameters phi it is

        E sum_k v_k^2 (d log w_k / d z_k) (d z_k / d phi),

    without the derivative of log q at fixed z. Where the KL has weight beta, only the share beta of log q is in w, and
    (1 - beta) v_k + beta v_k^2 replaces v_k^2.
    """

    def handler(self, guide: Callable[..., None]) -> Callable[..., None]:
        """Return the guide with its draws detached."""
        return DetachDraws()(guide)

    def differentiable_loss(self, model, guide, *args, **kwargs) -> Tensor:
        """Return minus IWAE-K scaled to all the data, a scalar in nats, whose gradient is that of the estimator."""
        log_p, log_q, scale, trace = self._log_densities(model, guide, args, kwargs)
        log_w = log_p - log_q
        v, bound = log_w.detach().softmax(0), renyi(log_w.detach(), 0.0)
        sites = [site for site in drawn_sites(trace) if "_draw" in site["infer"]]
        beta = (of_rows(sites[0]["scale"], v.shape[-1]) if sites else 1.0) / scale
        factor = (1 - beta) * v + beta * v.square()
        carried = _through_draws(trace, (scale * factor * log_w).sum())
        surrogate = ((scale * v * log_p).sum() + carried) / v.shape[1]
        return surrogate.detach() - surrogate - (scale * bound.mean(0)).sum()


class STL_ELBO(DReG_ELBO):  # noqa: N801
    """The ELBO, with the gradient of the guide through the draws alone: log q(z | x) counts as a function of z.

    The term left out, the derivative of log q at fixed z, is zero on average. Where the guide is the posterior log w is
    the same for every z, and so the gradient of the guide is zero for every draw. DReG of one draw is the same.

    Roeder, Wu and Duvenaud, Sticking the landing, 2017.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(1, **kwargs)


class PIWAE_ELBO(DReG_ELBO):  # noqa: N801
    """IWAE of all M K draws for the model, and the mean of M bounds IWAE-K of the same draws for the guide.

    The loss is minus the bound of the model.

    Rainforth et al., Tighter variational bounds are not necessarily better, 2018.
    """

    def __init__(self, bounds: int, draws: int, num_particles: int = 1, **kwargs: Any):
        super().__init__(draws, num_particles=bounds * num_particles, **kwargs)
        self.bounds, self.needs_all_data = bounds, bounds * draws > 1

    def differentiable_loss(self, model, guide, *args, **kwargs) -> Tensor:
        """Return minus IWAE-MK scaled to all the data, a scalar in nats, whose gradient is that of the estimator."""
        log_p, log_q, scale, trace = self._log_densities(model, guide, args, kwargs)
        log_w = log_p - log_q
        together = log_w.detach().unflatten(1, (self.bounds, -1)).flatten(0, 1)  # (M K, particles, n)
        of_guide = scale * log_w.detach().softmax(0) / self.bounds
        of_model = (scale * together.softmax(0)).reshape(log_w.shape)
        carried = _through_draws(trace, (of_guide * log_w).sum())
        surrogate = ((of_model * log_p - of_guide * log_q).sum() + carried) / together.shape[1]
        return surrogate.detach() - surrogate - (scale * renyi(together, 0.0).mean(0)).sum()
