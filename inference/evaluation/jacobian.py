"""The Jacobian of a pair's code: how much the code changes with its data point, measured after the fit.

|dz / dx|_F^2 is the expected squared change of the code, per variance, under small isotropic noise on x. It depends on
the unit of the code. A decoder can undo a change of unit at the same reconstruction error.

    Rifai, Vincent, Muller, Glorot and Bengio, Contractive auto-encoders: explicit invariance during feature
    extraction, 2011.
"""

import torch
from pyro import poutine
from torch import Tensor

from inference.errors import InferenceError
from inference.evaluation.estimate import Estimate
from inference.pairs.ends import entries_within
from inference.pairs.handlers import PosteriorMeans
from inference.pairs.info import inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.run import arguments, eval_mode
from inference.pairs.sites import latent_sites

__all__ = ["jacobian_norm", "mean_jacobian_norm"]

MAX_ROWS = 1000  # data points at a time


def jacobian_norm(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Compute |dz / dx|_F^2 at every row of x, (n,).

    z is the code of `encode`, of all continuous latents together, in evaluation mode and with a discrete latent at its
    mode; steps after the end of a sequence have none. The cost is one backward pass for each coordinate of the code. A
    pass sums over rows: the code of a row depends on no other row, so the gradient of the sum has the gradient of each
    code in its row.

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :raises InferenceError: if a latent is global, or none is continuous, so that a data point has no such code
    """
    norms = []
    with eval_mode(pair, purpose="jacobian_norm"):
        args = arguments(pair, x, given)
        info = inspect_pair(pair, args)
        if info.has_global_latent or not info.continuous_sites:
            raise InferenceError(
                f"a Jacobian needs a continuous code for each data point; {type(pair).__name__} has none."
            )
        within = entries_within(pair, args) or {}
        for rows in torch.arange(len(x), device=x.device).split(MAX_ROWS):
            x_rows, *more = (a[rows] for a in args)
            x_rows = x_rows.detach().requires_grad_()
            with torch.enable_grad(), PosteriorMeans():
                sites = latent_sites(poutine.trace(pair.guide).get_trace(x_rows, *more))
                codes = {name: sites[name]["value"] for name in info.continuous_sites}
                codes |= {name: codes[name].where(kept[rows], 0.0) for name, kept in within.items() if name in codes}
                z = torch.cat([code.reshape(len(rows), -1) for code in codes.values()], dim=1)
                totals = z.sum(0).unbind()
            norm = x.new_zeros(len(rows))
            for total in totals:
                (gradient,) = torch.autograd.grad(
                    total, x_rows, retain_graph=True, allow_unused=True, materialize_grads=True
                )
                norm += gradient.flatten(1).square().sum(1)
            norms.append(norm)
    return torch.cat(norms)


def mean_jacobian_norm(pair: Pair, x: Tensor, given: Tensor | None = None) -> Estimate:
    """Estimate the mean over data of `jacobian_norm`, in squared units of the code per squared unit of x."""
    return Estimate.of_mean(jacobian_norm(pair, x, given), "squared change of the code per squared change of x")
