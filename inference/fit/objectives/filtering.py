"""Filtering variational objectives: the bound of a particle filter whose proposal is the guide.

A step of a sequence is what the model draws up to its next observations, z_t and x_t. N particles for each data point
have the weights of the steps since they were last resampled,

    log w = sum_t log p(z_t | z_<t, x_<t) + log p(x_t | z_1:t, x_<t) - log q(z_t | z_<t, x).

When their effective sample size falls below N / 2, N ancestors are drawn in proportion to them, and all weights start
again from 1. The product of the means of the weights at these times and at the end is an unbiased estimate of p(x), so
its logarithm, FIVO-N, is a lower bound on log p(x) on average. It is IWAE-N as long as nothing is resampled, and so the
ELBO at N = 1. The gradient is that of the bound for the ancestors that were drawn; the term of their probabilities is
left out, as in the sources, since it is far noisier than the rest: the gradient is biased.

FIVO-N is log p(x), without variance, where the guide is the posterior and an observation says nothing of earlier
latents given the earlier observations. In other sequences the weight of a step varies even then: it is
p(x_t:T | z_<t, x_<t) / p(x_t+1:T | z_1:t, x_1:t), of which only the product over all steps is p(x). With the posterior
as the guide IWAE-N is exact, and FIVO-N resamples in vain.

The model and the guide of a pair run from the first step to the last. A particle that takes over the past of another
needs the states that were computed from it too, so both are run again with the draws of the past set to those of the
ancestors: once more than the number of times that the particles of any data point are resampled, T times at most. No
state is copied, so a pair needs no other form than that of any objective.

    Maddison, Lawson, Tucker, Heess, Norouzi, Mnih, Doucet and Teh, Filtering variational objectives, 2017.
    Le, Igl, Rainforth, Jin and Wood, Auto-encoding sequential Monte Carlo, 2018.
    Naesseth, Linderman, Ranganath and Blei, Variational sequential Monte Carlo, 2018.
"""

from typing import Any, ClassVar

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from inference.errors import InferenceError
from inference.fit.objectives.checks import (
    Requirement,
    require_density,
    require_reparametrised,
)
from inference.fit.objectives.importance import Renyi_ELBO, drawn_sites, of_rows, renyi
from inference.pairs.sites import Site, is_local, latent_sites, observed_sites, same_order

__all__ = ["FIVO_ELBO", "ParticleFilter", "steps_of"]


def steps_of(model: poutine.Trace, guide: poutine.Trace) -> dict[str, int]:
    """Return the step, 0, 1, ..., of each site of the model, and of those that the guide alone has.

    In the order of the model, a step ends before the first latent after observations. What the guide alone draws
    belongs to the step of the latent before it.
    """
    latent, observed = latent_sites(model), observed_sites(model)
    steps: dict[str, int] = {}
    step, is_observed = 0, False
    for name in model.nodes:
        if name in latent and is_observed:
            step, is_observed = step + 1, False
        is_observed = is_observed or name in observed
        steps[name] = step
    step = 0
    for name in guide.nodes:
        step = steps.setdefault(name, step)
    return steps


def _require_steps(model: poutine.Trace, guide: poutine.Trace) -> None:
    """Check that latents and observations take turns, and that the guide draws in the order of the model."""
    remedy = "The bound of the same draws without resampling is iwae:K."
    sites = latent_sites(model) | latent_sites(guide)
    if summed := [name for name, site in sites.items() if site["infer"].get("enumerate")]:
        raise InferenceError(f"{', '.join(summed)} is summed out exactly, and a particle filter draws every latent.")
    if shared := [name for name, site in latent_sites(guide).items() if not is_local(site)]:
        raise InferenceError(
            f"{', '.join(shared)} is a latent of all data, and particles are of one data point.", remedy
        )
    if not same_order(model, guide):
        raise InferenceError(
            f"the guide draws {', '.join(latent_sites(guide))} in this order, and the model in another: a particle "
            "filter needs the order of the model.",
            remedy,
        )
    if max(steps_of(model, guide).values()) == 0:
        raise InferenceError(
            f"no latent ({', '.join(latent_sites(model))}) follows an observation: there is nothing to resample, and "
            "fivo:K is iwae:K.",
            remedy,
        )


class Resume(Messenger):
    """Sets the draws of a guide up to a step of each row; the others are drawn.

    :param values: the draws by site, (rows, ...) each
    :param steps: the step of each site
    :param start: (rows,) the first step that is drawn
    """

    def __init__(self, values: dict[str, Tensor], steps: dict[str, int], start: Tensor):
        super().__init__()
        self.values, self.steps, self.start = values, steps, start

    def _pyro_sample(self, msg: Site) -> None:
        if msg["is_observed"] or site_is_subsample(msg):
            return
        msg["infer"]["_is_preset"] = msg["value"] is not None
        if msg["name"] not in self.values:
            return
        drawn, value = msg["fn"](*msg["args"], **msg["kwargs"]), self.values[msg["name"]]
        is_set = (self.steps[msg["name"]] < self.start).reshape(-1, *[1] * (value.dim() - 1))
        msg["value"] = torch.where(is_set, value, drawn)


class ParticleFilter(Renyi_ELBO):
    """FIVO-N, for draws of any kind: its value, without a gradient of draws that are not reparametrised.

    :param draws: N
    :param num_particles: number of bounds that are averaged
    """

    requirements: ClassVar[tuple[Requirement, ...]] = (require_density, _require_steps)
    traceable: ClassVar[bool] = False
    threshold: ClassVar[float] = 0.5
    """The effective sample size, as a fraction of N, below which particles are resampled."""

    def bounds(self, model, guide, *args, **kwargs) -> tuple[Tensor, Tensor | float]:
        """Return FIVO-N of each data point, (particles, n) in nats, and the scale of each, (n,) or a number."""
        n, drawn = len(args[0]), Resume({}, {}, torch.zeros(0))
        start = args[0].new_zeros(self.num_particles // self.draws, n, dtype=torch.long)
        bound = args[0].new_zeros(start.shape)
        while True:
            traces, scale = self._traces_of_rows(model, drawn(guide), args, kwargs)
            steps = steps_of(*traces)
            log_w = self._log_weights(traces, steps, scale)
            t = torch.arange(len(log_w), device=log_w.device).reshape(-1, 1, 1)
            log_w = log_w.where((t >= start).unsqueeze(1), 0.0).cumsum(0)
            ess = (2 * log_w.logsumexp(1) - (2 * log_w).logsumexp(1)).exp()  # (T, particles, n)
            resampled = (t >= start) & (ess < self.threshold * self.draws)
            end = (resampled | (t == len(t) - 1)).byte().argmax(0)  # the first step after which weights are averaged
            log_w = log_w.gather(0, end.expand(1, self.draws, -1, -1)).squeeze(0)
            bound, start = bound + renyi(log_w, 0.0), end + 1
            if (start == len(t)).all():
                return bound, of_rows(scale, n)
            rows = _ancestors(log_w.detach().softmax(0)).flatten()
            values = {site["name"]: site["value"][rows] for site in drawn_sites(traces[1])}
            drawn = Resume(values, steps, start.flatten().repeat(self.draws))

    def _log_weights(self, traces: tuple[poutine.Trace, ...], steps: dict[str, int], scale: Tensor | float) -> Tensor:
        """Return the log-weights of each step, (T, N, particles, n)."""
        totals: list[Any] = [0.0] * (max(steps.values()) + 1)
        for trace, sign in zip(traces, (1, -1), strict=True):
            for name, site in trace.nodes.items():
                if site["type"] == "sample" and not site_is_subsample(site):
                    totals[steps[name]] = totals[steps[name]] + sign * site["log_prob"] / scale
        return torch.stack(totals).reshape(len(totals), self.draws, self.num_particles // self.draws, -1)

    def differentiable_loss(self, model, guide, *args, **kwargs) -> Tensor:
        """Return minus FIVO-N scaled to all the data, a scalar in nats, with the gradient for the ancestors drawn."""
        bound, scale = self.bounds(model, guide, *args, **kwargs)
        return -(scale * bound.mean(0)).sum()


class FIVO_ELBO(ParticleFilter):  # noqa: N801 (Pyro's names)
    """FIVO-N as an objective: all draws are reparametrised."""

    requirements: ClassVar[tuple[Requirement, ...]] = (*ParticleFilter.requirements, require_reparametrised)


def _ancestors(weights: Tensor) -> Tensor:
    """Draw the rows of the ancestors of N particles in proportion to their weights, (N, ...), both in one order."""
    n, others = len(weights), weights[0].numel()
    of_cells = weights.reshape(n, others).T.nan_to_num(1 / n)
    drawn = torch.multinomial(of_cells, n, replacement=True).T  # (N, others)
    return drawn * others + torch.arange(others, device=weights.device)
