"""Pathfinder: normal approximations along the path of an optimiser from a random start to the mode of the posterior.

L-BFGS climbs log p(x, u), where u has all latents in unbounded coordinates, and the density its Jacobian. At each step
it has a gradient g and an estimate H of the covariance (`lbfgs`), and with them

    q(u) = Normal(u + H g, H),    ELBO = E_q[log p(x, u) - log q(u)].

The step with the highest ELBO is taken. It lies before the mode where the mode is in a corner without mass, as in a
funnel. Draws of several paths are resampled with weights smoothed by their Pareto tail, whose k-hat says how far they
can be trusted. On a normal posterior q is the posterior after as many steps as there are coordinates.

Three details differ from the paper. H starts at the spread of the prior, not at 1. The weights of several paths are p
over the mixture of all their normals, not over the one that was drawn from. The draws for the ELBO are standardised, so
that it is exact where the posterior is normal; the noise of 5 independent draws could prefer a step before the last.

    Zhang, Carpenter, Gelman and Vehtari, Pathfinder: parallel quasi-Newton variational inference, 2022.
    Veach and Guibas, Optimally combining sampling techniques for Monte Carlo rendering, 1995 (weights of a mixture).
"""

import math
from contextlib import suppress
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer.mcmc.util import initialize_model
from torch import Tensor

from inference.counts import whole_number
from inference.errors import InferenceError
from inference.fit.graph import UntraceableError, traced
from inference.fit.lbfgs import Point, lbfgs
from inference.fit.pareto import pareto_smooth
from inference.pairs.fitted_rows import check_rows
from inference.pairs.info import continuous_latents
from inference.pairs.pair import Pair
from inference.pairs.run import arguments, eval_mode
from inference.pairs.sites import Site, is_local

__all__ = ["pathfinder", "shared_latents", "summary_of"]

MOST = 1000  # coordinates of the latents, whose covariance is a full matrix
RADIUS, MAX_STARTS = 2.0, 100  # of the box around 0 that starts are drawn from
ELBO_DRAWS = 10  # more than there are coordinates
PRIOR_DRAWS, QUARTILES = 100, 1.349  # for its spread; distance of the quartiles of a normal in sds
MAX_ROWS = 200_000  # draws times data points that are evaluated together: bounds the memory

Normal = tuple[Tensor, Tensor]
"""Mean, (d,), and L, (d, d), where L L' is the covariance."""


class _Target:
    """log p(x, u) of a pair as a function of u, (d,), and the numbers of its evaluations with and without gradient."""

    def __init__(self, pair: Pair, args: tuple[Tensor, ...]) -> None:
        _, self.potential, self.transforms, trace = initialize_model(pair.model, args, initial_params={})
        self.shapes = {name: t(trace.nodes[name]["value"]).shape for name, t in self.transforms.items()}
        self.d = sum(shape.numel() for shape in self.shapes.values())
        self.gradients = self.densities = 0
        self.together = max(1, MAX_ROWS // max(1, len(args[0])))
        self.density, self.slope = self._density, self._slope
        start = args[0].new_zeros(self.d)
        with suppress(UntraceableError):
            self.density, self.slope = traced(self._density, (start,)), traced(self._slope, (start,))

    def split(self, u: Tensor) -> dict[str, Tensor]:
        """Return the coordinates of each site, (..., *shape), of u, (..., d)."""
        parts = zip(self.shapes.items(), u.split([shape.numel() for shape in self.shapes.values()], -1), strict=True)
        return {name: part.reshape(u.shape[:-1] + shape) for (name, shape), part in parts}

    def _density(self, u: Tensor) -> tuple[Tensor]:
        return (-self.potential(self.split(u)),)

    def _slope(self, u: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            (value,) = self._density(u)
            (gradient,) = torch.autograd.grad(value, u)
        return value.detach(), gradient

    def at(self, u: Tensor) -> Point:
        """Return the point at u, (d,)."""
        self.gradients += 1
        return u, *self.slope(u)

    def log_p(self, u: Tensor) -> Tensor:
        """Compute log p(x, u), (m,), of u, (m, d); -inf where it is not finite."""
        self.densities += len(u)
        warn_of_slow_rows = getattr(torch._C._functorch, "_set_vmap_fallback_warning_enabled", lambda enabled: None)
        warn_of_slow_rows(False)
        try:
            (value,) = torch.func.vmap(self.density, chunk_size=self.together)(u)
        except RuntimeError:  # a model that branches on its latents
            value = torch.stack([self.density(row)[0] for row in u])
        finally:
            warn_of_slow_rows(True)
        return value.where(value.isfinite(), -torch.inf)

    def spread(self, pair: Pair, args: tuple[Tensor, ...]) -> Tensor:
        """Return the variance of a normal with the quartiles of the prior, (d,); a prior may have no variance."""
        traces = [poutine.trace(pair.model).get_trace(*args).nodes for _ in range(PRIOR_DRAWS)]
        u = [torch.cat([t(nodes[name]["value"]).flatten() for name, t in self.transforms.items()]) for nodes in traces]
        low, high = torch.stack(u).quantile(args[0].new_tensor([0.25, 0.75]), 0)
        variance = ((high - low) / QUARTILES).square()
        return variance.where((variance > 0) & variance.isfinite(), 1.0)

    def start(self, like: Tensor) -> Point:
        """Draw a start with a finite density and gradient, uniformly from a box, as Stan does."""
        for _ in range(MAX_STARTS):
            u, value, gradient = self.at(RADIUS * (2 * torch.rand(self.d, dtype=like.dtype).to(like.device) - 1))
            if value.isfinite() and gradient.isfinite().all():
                return u, value, gradient
        raise InferenceError(
            f"the density of the model is not finite at {MAX_STARTS} random starts.",
            "Scale the latents to be around 1.",
        )


def _log_q(q: Normal, u: Tensor) -> Tensor:
    """Compute log q(u), (m,), of u, (m, d)."""
    mean, L = q
    noise = torch.linalg.solve_triangular(L, (u - mean).T, upper=False)
    constant = 0.5 * len(mean) * math.log(2 * math.pi) + L.diagonal().abs().log().sum()
    return -0.5 * noise.square().sum(0) - constant


def _standardised(m: int, like: Tensor) -> Tensor:
    """Draw noise, (m, d), whose mean is 0 and covariance 1, so that means of quadratic functions are exact."""
    noise = torch.randn(m, len(like), dtype=like.dtype).to(like.device)
    noise = noise - noise.mean(0)
    L = torch.linalg.cholesky(noise.T @ noise / m)
    return torch.linalg.solve_triangular(L, noise.T, upper=False).T


def _path(target: _Target, start: Point, spread: Tensor) -> tuple[Normal, int]:
    """Climb from a start; return the normal with the highest ELBO, and the number of its step."""
    noise = _standardised(target.d + ELBO_DRAWS, spread)
    best: tuple[Normal, int] = (start[0], spread.sqrt().diag()), 0
    highest = -math.inf
    for step, ((u, _, gradient), L) in enumerate(lbfgs(target.at, start, spread), start=1):
        q = u + L @ (L.T @ gradient), L
        draws = q[0] + noise @ L.T
        if (elbo := (target.log_p(draws) - _log_q(q, draws)).mean().item()) > highest:
            best, highest = (q, step), elbo
    return best


def shared_latents(pair: Pair, args: tuple[Tensor, ...]) -> dict[str, Site]:
    """Return the continuous latents of a model if one of them is global, as `continuous_latents`.

    :raises InferenceError: if all are local, and as `continuous_latents`
    """
    sites = continuous_latents(pair, args)
    if all(map(is_local, sites.values())):
        raise InferenceError(
            f"{type(pair).__name__} has latents of single data points only, and Pathfinder is for one that all share.",
            "Use NUTS.",
        )
    return sites


def pathfinder(
    pair: Pair, x: Tensor, given: Tensor | None = None, draws: int = 1000, paths: int = 4, seed: int = 0
) -> dict[str, Any]:
    """Draw from normal approximations of p(latents | x) along the paths of an optimiser.

    With several paths, the draws of all are resampled by their smoothed weights. Those of a single path are draws of
    its normal. Do not use the draws if k-hat is above 0.7.

    Zhang, Carpenter, Gelman and Vehtari, Pathfinder: parallel quasi-Newton variational inference, 2022.

    >>> from inference.examples import LinearGaussian
    >>> try:
    ...     pathfinder(LinearGaussian(), torch.zeros(3, 1))
    ... except InferenceError as error:
    ...     print(error)
    LinearGaussian has latents of single data points only, and Pathfinder is for one that all share. Use NUTS.

    :param pair: the model, whose guide is not used, and of whose latents one is global
    :param x: (n, ...) all the data
    :param given: (n, ...) labels or covariates, for a conditional model
    :param draws: number of draws of each path, and of those returned
    :param paths: number of paths, each from another start
    :param seed: of the noise
    :return: "draws", {site: (draws, ...)}, with "log_p" and "log_q", (draws,), their densities under the model and the
        mixture of the paths, in unbounded coordinates; "summary", {site: mean, sd, mcse and constant}, as of `nuts`;
        "ess", the effective number of draws; "k_hat"; "log_weights", (paths, draws), log p - log q of the draws and the
        normal of each path; "elbo", (paths,), their means in nats; "steps", the numbers of steps of L-BFGS to each
        normal; "gradients" and "densities", the numbers of evaluations of the model with and without gradient
    :raises InferenceError: if draws < 25 or paths < 1, if all latents are local, or have no or more than 1000
        coordinates; if no density is finite; and as `nuts`
    """
    draws, paths = whole_number(draws, "draws", least=25), whole_number(paths, "paths")
    with eval_mode(pair, seed, "pathfinder"), pyro.validation_enabled(False):
        args, kind = arguments(pair, x, given), type(pair).__name__
        check_rows(pair, args, model_alone=True)
        shared_latents(pair, args)
        target = _Target(pair, args)
        if not 1 <= target.d <= MOST:
            raise InferenceError(f"the latents of {kind} have {target.d} coordinates; expected 1 to {MOST}.")
        spread = target.spread(pair, args)
        normals, steps = zip(*(_path(target, target.start(x), spread) for _ in range(paths)), strict=True)
        noise = torch.randn(paths, draws, target.d, dtype=x.dtype).to(x.device)
        u = torch.cat([mean + e @ L.T for (mean, L), e in zip(normals, noise, strict=True)])
        log_p, of_each = target.log_p(u), torch.stack([_log_q(q, u) for q in normals])  # (paths, paths * draws)
        log_q = of_each.logsumexp(0) - math.log(paths)
        if not log_p.isfinite().any():
            raise InferenceError(f"no draw of Pathfinder has a finite density under {kind}.", "Use NUTS.")
        smooth, k_hat = pareto_smooth(log_p - log_q)
        rows, ess = torch.arange(draws, device=x.device), float(draws)
        if paths > 1:
            weights = smooth.double().softmax(0)
            rows = weights.multinomial(draws, replacement=True)
            ess = 1 / (weights.square().sum().item() + 1 / draws)
        values = {name: target.transforms[name].inv(part) for name, part in target.split(u[rows]).items()}
    log_w = log_p.view(paths, draws) - of_each.view(paths, paths, draws).diagonal(dim1=0, dim2=1).T
    return {
        "draws": values,
        "log_p": log_p[rows],
        "log_q": log_q[rows],
        "summary": {name: summary_of(value, ess) for name, value in values.items()},
        "ess": ess,
        "k_hat": k_hat,
        "log_weights": log_w,
        "elbo": log_w.mean(1),
        "steps": list(steps),
        "gradients": target.gradients,
        "densities": target.densities,
    }


def summary_of(value: Tensor, ess: float) -> dict[str, Tensor]:
    """Summarise draws, (draws, ...), whose effective number is `ess`."""
    sd = value.std(0)
    constant = (value == value[:1]).all(0)
    return {"mean": value.mean(0), "sd": sd, "mcse": sd / math.sqrt(ess), "constant": constant}
