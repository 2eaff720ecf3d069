"""Estimators by the score function, for draws that are not reparametrised.

Williams, Simple statistical gradient-following algorithms for connectionist reinforcement learning, 1992.
Schulman, Heess, Weber and Abbeel, Gradient estimation using stochastic computation graphs, 2015.
"""

from contextlib import suppress
from typing import ClassVar

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceGraph_ELBO
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from inference.fit.objectives.checks import (
    Checked,
    Requirement,
    require_density,
    require_no_enumeration,
    require_unset_draws,
)
from inference.pairs.properties import is_reparametrised
from inference.pairs.sites import TRANSFORMED, Site, layers

__all__ = ["Graph_ELBO", "Reinforce_ELBO", "Unreparametrised"]


class Unreparametrised(Messenger):
    """Draws with the same noise but without a gradient through the draw, so that Pyro uses the score function.

    A transform with a cache, as of a flow, knows its last draw by the identity of the tensor. It would score the draw
    with its noise held fixed, where the score function holds the draw fixed: so the draw is a new tensor.
    """

    def _pyro_sample(self, msg: Site) -> None:
        if msg["is_observed"] or site_is_subsample(msg) or not is_reparametrised(msg["fn"]):
            return
        wrapped = list(layers(msg["fn"], TRANSFORMED))
        if isinstance(wrapped[-1], dist.Delta):
            return
        msg["infer"]["_is_preset"] = msg["value"] is not None
        with torch.no_grad():
            msg["value"] = msg["fn"](*msg["args"], **msg["kwargs"]).detach()
        for layer in wrapped:
            with suppress(AttributeError):  # a property of some wrappers, which return that of the base
                layer.has_rsample = False


class Reinforce_ELBO(Checked, Trace_ELBO):  # noqa: N801 (Pyro's names)
    """Trace_ELBO without reparametrisation (REINFORCE): gradient E_q[log w d log q] of the guide, noisy but general."""

    requirements: ClassVar[tuple[Requirement, ...]] = (require_density, require_no_enumeration)

    def _get_trace(self, model, guide, args, kwargs) -> tuple[poutine.Trace, poutine.Trace]:
        model, guide = super()._get_trace(model, Unreparametrised()(guide), args, kwargs)
        require_unset_draws(guide)
        self.check_if_validating(model, guide)
        return model, guide


class Graph_ELBO(TraceGraph_ELBO):  # noqa: N801
    """TraceGraph_ELBO as one tensor: each draw that is not reparametrised is charged with its own consequences only.

    Where all draws are reparametrised it is Trace_ELBO.
    """

    def differentiable_loss(self, model, guide, *args, **kwargs) -> Tensor:
        """Return the loss, a scalar in nats, whose gradient is that of the estimator."""
        elbo, surrogate = self._loss_and_surrogate_loss(model, guide, args, kwargs)
        return surrogate - (surrogate + elbo).detach()
