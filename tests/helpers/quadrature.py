"""Sums over a grid in place of Monte Carlo, for pairs with one latent number: evidence, ELBO and mean weight."""

import math
import warnings

import torch
from families import FAMILIES, NUMBERS

from inference import eval_mode
from inference.evaluation.log_weights import importance_terms

__all__ = ["LATENTS", "LIKELIHOODS", "agrees"]


def scorable(name, latent):
    """Return whether quadrature applies: a family with draws and a density, for a latent of real numbers."""
    fn = NUMBERS[name](torch.zeros(2)) if latent else FAMILIES[name](torch.zeros(2, 3))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fn.expand(fn.batch_shape).log_prob(fn.sample())
        return len(fn.batch_shape) > 0 and (not latent or (fn.event_shape == () and fn.support is not None))
    except NotImplementedError:
        return False


NO_GRID = {
    "Delta": "it has no density",
    "Unit": "it has no values",
    "GeneralizedPareto": "torch computes it in float32 alone",
}
NO_LATENT = NO_GRID | {
    "Empirical": "it scores draws of its own shape alone",
    "TruncatedPolyaGamma": "Pyro draws several samples in another shape",
    "Uniform": "guide and prior have other supports",
    "RelaxedBernoulliStraightThrough": "it scores its own draws alone",
}
LATENTS = [name for name in NUMBERS if name not in NO_LATENT and scorable(name, True)]
LIKELIHOODS = [name for name in FAMILIES if name not in NO_GRID and scorable(name, False)]


def agrees(pair, args, log_joint, log_q, volumes, draws=4000):
    """Assert that IWAE-1, ELBO and mean weight of each data point agree with sums over the grid.

    The standard errors are those of the draws or of the grid, whichever is larger.

    :param args: (x,) or (x, given)
    :param log_joint: (n, grid) log p(x, z), and log_q, log q(z | x); n is 1 where z is global
    :param volumes: (grid,) their logarithms
    """
    with eval_mode(pair), torch.no_grad():
        terms = importance_terms(pair, *args, k=draws)
    if not pair.enumerates:
        assert torch.equal(terms["weight"], terms["elbo"])
    log_p = (log_joint + volumes).logsumexp(1)
    q = (log_q + volumes).exp()
    torch.testing.assert_close(q.sum(1), torch.ones(len(q)).double(), rtol=1e-3, atol=1e-3)
    scale = log_p.clamp(min=-1e3)  # of data points without density: 0 on both sides
    log_w = log_joint - log_q
    parts = (terms["elbo"], log_w), ((terms["weight"] - scale).exp(), (log_w - scale.unsqueeze(1)).exp())
    exact = torch.where(q > 0, q * log_w, 0.0).sum(1), (log_p - scale).exp()
    if pair.enumerates:  # no noise is left: the weight is the evidence, and the ELBO too if the guide has no part in it
        exact = (log_p if pair.enumerates == "model" else exact[0]), exact[1]
    for (draw, of_grid), mean in zip(parts, exact, strict=True):
        finite = torch.isfinite(mean)  # elsewhere the guide draws what is impossible under the model
        spread = torch.where(q > 0, q * (of_grid - mean.unsqueeze(1)).square(), 0.0).sum(1).sqrt()
        error = 0.0 if pair.enumerates else draw.std(0).maximum(spread) / math.sqrt(draws)
        assert ((draw.mean(0) - mean).abs() <= 4 * error + 1e-3)[finite].all(), (draw.mean(0), mean, error)
