"""The ELBO with a KL in closed form, also beside enumerated sites, and with free bits.

Kingma et al., Improved variational inference with inverse autoregressive flow, 2016 (free bits).
"""

from typing import Any, ClassVar

from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer import TraceEnum_ELBO, TraceMeanField_ELBO
from pyro.infer.util import torch_item
from pyro.ops import packed
from torch import Tensor
from torch.distributions import kl_divergence

from inference.errors import InferenceError
from inference.fit.objectives.checks import (
    Checked,
    Requirement,
    require_closed_kl,
    require_density,
    require_order_of_model,
    require_reparametrised,
)
from inference.pairs.properties import is_reparametrised
from inference.pairs.sites import (
    Site,
    children_of_enumerated,
    independent_factors,
    latent_sites,
    other_plate,
)

__all__ = ["FreeBits_ELBO", "MeanField_ELBO", "TraceEnumMeanField_ELBO"]


class MeanField_ELBO(Checked, TraceMeanField_ELBO):  # noqa: N801 (Pyro's names)
    """TraceMeanField_ELBO, for a guide with reparametrised draws in the order of the model."""

    requirements: ClassVar[tuple[Requirement, ...]] = (require_order_of_model, require_reparametrised)


class TraceEnumMeanField_ELBO(Checked, TraceEnum_ELBO):  # noqa: N801
    """TraceEnum_ELBO with the KL of sampled sites in closed form where Pyro has one."""

    requirements: ClassVar[tuple[Requirement, ...]] = (require_order_of_model,)

    def _get_trace(self, model, guide, args, kwargs) -> tuple[poutine.Trace, poutine.Trace]:
        model, guide = super()._get_trace(model, guide, args, kwargs)
        below = children_of_enumerated(model, guide)
        for name, q in latent_sites(guide).items():
            if q["infer"].get("_enumerate_dim") is None and is_reparametrised(q["fn"]) and name not in below:
                try:
                    kl = scale_and_mask(kl_divergence(q["fn"], model.nodes[name]["fn"]), q["scale"], q["mask"])
                except NotImplementedError:
                    continue
                symbols = q["infer"]["_dim_to_symbol"]
                model.nodes[name]["packed"]["log_prob"] = packed.pack(-kl, symbols)
                q["packed"]["log_prob"] = packed.pack(kl.new_zeros(kl.shape), symbols)
        return model, guide


class FreeBits_ELBO(MeanField_ELBO):  # noqa: N801
    """MeanField_ELBO with a minimum charge of nats for the KL of each dimension of a latent.

    The KL of a dimension is averaged over the minibatch. Below the minimum it has no gradient, so dimensions do not
    collapse onto the prior at the start of a fit. Minus the loss stays a lower bound,

        E_q log p(x | z) - sum_j max(nats, KL_j) <= ELBO.

    A dimension is one that the guide draws independently of the others; otherwise all dimensions count as one. Each
    item of a plate beside the data has its own.

    :param nats: the minimum for each data point, or for all data together where the latent is global
    """

    requirements: ClassVar[tuple[Requirement, ...]] = (require_order_of_model, require_density, require_closed_kl)

    def __init__(self, nats: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.nats = nats

    def _get_trace(self, model, guide, args, kwargs) -> tuple[poutine.Trace, poutine.Trace]:
        model, guide = super()._get_trace(model, guide, args, kwargs)
        require_order_of_model(model, guide)
        self.check_if_validating(model, guide)
        return model, guide

    def _differentiable_loss_particle(self, model: poutine.Trace, guide: poutine.Trace) -> tuple[float, Tensor]:
        loss, surrogate = super()._differentiable_loss_particle(model, guide)
        for name, q in latent_sites(guide).items():
            if name in model.nodes:
                charged = self._charged(q, model.nodes[name])
                loss, surrogate = loss + torch_item(charged), surrogate + charged
        return loss, surrogate

    def _charged(self, q: Site, p: Site) -> Tensor:
        """Return the charge of a site beyond its KL, a scalar in nats, scaled to all the data."""
        of_q, of_p = independent_factors(q["fn"], p["fn"])
        try:
            kl = kl_divergence(of_q, of_p)
        except NotImplementedError:
            raise InferenceError(
                f"free bits need the KL of {q['name']} in closed form, and Pyro has none for {type(of_q).__name__} "
                f"and {type(of_p).__name__}.",
                "Set warmup, the epochs over which the weight of the KL rises, instead.",
            ) from None
        shape = q["fn"].batch_shape
        weights = scale_and_mask(kl.new_ones(shape), q["scale"], q["mask"])
        items = 1 if (plate := other_plate(q)) is None else plate.size  # each a dimension, and not averaged over
        of_all = (weights.unsqueeze(-1) * kl.reshape(*shape, -1)).reshape(-1, items, kl.numel() // shape.numel()).sum(0)
        free = self.nats * weights.reshape(-1, items).sum(0)
        return (free.unsqueeze(-1) - of_all).clamp(min=0).sum()
