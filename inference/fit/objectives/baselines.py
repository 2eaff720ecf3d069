"""Score-function gradients of several draws, each with a baseline from the others: for discrete latents first of all.

With log w = log p(x, z) - log q(z | x) and draws that carry no gradient, the guide ascends

    sum_k (signal_k - baseline_k) d log q(z_k | x),

where the baseline is free of z_k, so that it takes noise away and adds no bias. Every latent is sampled, also one that
is marked for enumeration.

    Kool, van Hoof and Welling, Buy 4 REINFORCE samples, get a baseline for free!, 2019.
    Mnih and Rezende, Variational inference for Monte Carlo objectives, 2016.
    Dong, Mnih and Tucker, DisARM: an antithetic gradient estimator for binary latent variables, 2020.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from pyro import poutine
from pyro.infer.util import is_validation_enabled
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import Bernoulli

from inference.errors import InferenceError
from inference.fit.objectives.checks import Requirement, require_density, require_inferred
from inference.fit.objectives.importance import Renyi_ELBO, drawn_sites, renyi
from inference.fit.objectives.score_function import Unreparametrised
from inference.pairs.sites import TRANSFORMED, Site, latent_sites, unwrap

__all__ = ["VIMCO_ELBO", "DisARM_ELBO", "LeaveOneOut_ELBO"]


class LeaveOneOut_ELBO(Renyi_ELBO):  # noqa: N801 (Pyro's names)
    """The ELBO of K draws without reparametrisation: the baseline of a draw is the mean log w of the K - 1 others.

    Where the guide is the posterior log w is the same for every z, and so the gradient of the guide is zero for every
    draw.

    Kool, van Hoof and Welling, Buy 4 REINFORCE samples, get a baseline for free!, 2019.
    """

    requirements: ClassVar[tuple[Requirement, ...]] = (require_density, require_inferred)
    samples_enumerated: ClassVar[bool] = True
    least_draws: ClassVar[int] = 2  # a baseline comes from the other draws

    def __init__(self, draws: int, **kwargs: Any):
        super().__init__(draws, **kwargs)
        self.needs_all_data = False

    def handler(self, guide: Callable[..., None]) -> Callable[..., None]:
        """Return the guide without gradients through its draws."""
        return Unreparametrised()(guide)

    def score(self, guide: poutine.Trace) -> Tensor:
        """Return log q(z | x) of all draws, (K, particles, n), without the weights of the KL and of rows."""
        return self._total(drawn_sites(guide), key="unscaled_log_prob")

    def differentiable_loss(self, model, guide, *args, **kwargs) -> Tensor:
        """Return minus the ELBO scaled to all the data, a scalar in nats, whose gradient is that of the estimator."""
        log_p, log_q, scale, trace = self._log_densities(model, guide, args, kwargs)
        log_w = (log_p - log_q).detach()
        signal = (log_w - log_w.mean(0)) * (self.draws / (self.draws - 1))  # to the mean of the others
        surrogate = (scale * (log_p + signal * self.score(trace)).mean((0, 1))).sum()
        return surrogate.detach() - surrogate - (scale * log_w.mean((0, 1))).sum()


class VIMCO_ELBO(LeaveOneOut_ELBO):  # noqa: N801
    """IWAE-K without reparametrisation: the signal of a draw is the bound, its baseline the bound without that draw.

    In the baseline the geometric mean of the K - 1 other weights stands for the weight of the draw.

    Mnih and Rezende, Variational inference for Monte Carlo objectives, 2016.
    """

    def __init__(self, draws: int, **kwargs: Any):
        super().__init__(draws, **kwargs)
        self.needs_all_data = True

    def differentiable_loss(self, model, guide, *args, **kwargs) -> Tensor:
        """Return minus IWAE-K scaled to all the data, a scalar in nats, whose gradient is that of the estimator."""
        log_p, log_q, scale, trace = self._log_densities(model, guide, args, kwargs)
        log_w, k = (log_p - log_q).detach(), self.draws
        others = (log_w.sum(0) - log_w) / (k - 1)  # (K, particles, n), logarithms of the geometric means
        own = torch.eye(k, dtype=torch.bool, device=log_w.device).reshape(k, k, 1, 1)
        replaced = torch.where(own, others, log_w.unsqueeze(1))  # (of draws, k without that draw, particles, n)
        bound = renyi(log_w, 0.0)
        signal = bound - renyi(replaced, 0.0)
        of_weights = (log_w.softmax(0) * (log_p - log_q)).sum(0)
        surrogate = (scale * (of_weights + (signal * self.score(trace)).sum(0)).mean(0)).sum()
        return surrogate.detach() - surrogate - (scale * bound.mean(0)).sum()


class Antithetic(Messenger):
    """Draws Bernoulli sites in pairs, without a gradient: the second half from 1 - u where the first half is from u."""

    def _pyro_sample(self, msg: Site) -> None:
        base = unwrap(msg["fn"])
        if msg["is_observed"] or not isinstance(base, Bernoulli):
            return
        msg["infer"]["_is_preset"] = msg["value"] is not None
        probs = base.probs.detach().expand(msg["fn"].shape())
        u = torch.rand_like(probs[: len(probs) // 2])
        msg["value"] = (torch.cat([u, 1 - u]) < probs).to(probs)


def _require_bernoulli(model: poutine.Trace, guide: poutine.Trace) -> None:
    """Check that all latents are Bernoulli variables."""
    of_guide = {name: unwrap(site["fn"], TRANSFORMED) for name, site in latent_sites(guide).items()}
    if others := [name for name, fn in of_guide.items() if not isinstance(fn, Bernoulli)]:
        raise InferenceError(
            f"disarm is for Bernoulli latents, and the guide of {', '.join(others)} is "
            f"{type(of_guide[others[0]]).__name__}.",
            ("objective", "loo:2"),
        )


class DisARM_ELBO(LeaveOneOut_ELBO):  # noqa: N801
    """The ELBO of an antithetic pair of draws of Bernoulli latents b ~ q(b | x), independent given x.

    With b from uniform numbers u, b' from 1 - u, and logits a, the gradient at each logit is

        (log w(b) - log w(b')) / 2 (b - b') sigmoid(|a|),

    that of ARM with all noise beyond b and b' integrated out, and so never noisier than it.

    Dong, Mnih and Tucker, DisARM: an antithetic gradient estimator for binary latent variables, 2020.
    """

    requirements: ClassVar[tuple[Requirement, ...]] = (require_density, require_inferred, _require_bernoulli)

    def __init__(self, **kwargs: Any):
        super().__init__(2, **kwargs)

    def handler(self, guide: Callable[..., None]) -> Callable[..., None]:
        """Return the guide with draws in antithetic pairs."""
        return Antithetic()(guide)

    def differentiable_loss(self, model, guide, *args, **kwargs) -> Tensor:
        """Return minus the ELBO scaled to all the data, a scalar in nats, whose gradient is that of the estimator."""
        log_p, log_q, scale, trace = self._log_densities(model, guide, args, kwargs)
        log_w = (log_p - log_q).detach()
        half = scale * (log_w[0] - log_w[1]) / 2  # (particles, n)
        surrogate = (scale * log_p.mean(0)).sum()
        for name, site in latent_sites(trace).items():
            logits, other = unwrap(site["fn"]).logits.expand(site["value"].shape).chunk(2)
            if is_validation_enabled() and not torch.allclose(logits, other, rtol=1e-3, atol=1e-3):
                raise InferenceError(
                    f"the guide's {name} depends on another draw, or on dropout: disarm needs latents that are "
                    "independent given x.",
                    ("objective", "loo:2"),
                )
            b, opposite = site["value"].chunk(2)
            change = half.reshape(-1, *[1] * (b.dim() - 1)) * (b - opposite) * logits.detach().abs().sigmoid()
            surrogate = surrogate + (change * logits).sum()
        surrogate = surrogate / log_w.shape[1]
        return surrogate.detach() - surrogate - (scale * log_w.mean((0, 1))).sum()
