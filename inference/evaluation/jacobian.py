"""How far does the code move when its datum does? The Jacobian of any pair's code, as a measure after fitting.

|dz / dx|_F^2 is the expected squared change of the code, per variance, under small isotropic noise on x. It depends on
the unit of the code, which a decoder can undo, at the same error of reconstruction.

    Rifai, Vincent, Muller, Glorot and Bengio, Contractive auto-encoders: explicit invariance during feature
    extraction, 2011.
"""

import torch
from pyro import poutine
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.evaluation.classification import entry
from inference.pairs.handlers import PosteriorMeans
from inference.pairs.info import inspect_pair
from inference.pairs.run import arguments, eval_mode
from inference.pairs.sites import latent_sites

ROWS = 1000  # data at a time


def jacobian_norm(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> Tensor:
    """|dz / dx|_F^2 at every row of x, (n,): z is the code that `encode` has, of all continuous latents together, in
    evaluation mode and with a discrete latent at its mode.

    By one backward pass for each coordinate of the code, summed over rows: the code of a row depends on no other row,
    so the gradient of the sum has the gradient of each code in its row.

    :raises InferenceError: if a latent is global, or none is continuous, so that data have no such codes
    """
    norms = []
    with eval_mode(pair, seed=0):
        args = arguments(pair, x, given)
        seen = inspect_pair(pair, args)
        if seen.has_global_latent or not seen.continuous_sites:
            raise InferenceError(f"{type(pair).__name__} has no continuous code for each datum, so no Jacobian of one.")
        for rows in torch.arange(len(x), device=x.device).split(ROWS):
            x_rows, *more = (a[rows] for a in args)
            x_rows = x_rows.detach().requires_grad_()
            with torch.enable_grad(), PosteriorMeans():
                sites = latent_sites(poutine.trace(pair.guide).get_trace(x_rows, *more))
                z = torch.cat([sites[name]["value"].reshape(len(rows), -1) for name in seen.continuous_sites], dim=1)
                totals = z.sum(0).unbind()
            norm = x.new_zeros(len(rows))
            for total in totals:
                options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
                norm += torch.autograd.grad(total, x_rows, **options)[0].flatten(1).square().sum(1)
            norms.append(norm)
    return torch.cat(norms)


def mean_jacobian_norm(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> dict:
    """The mean over data of `jacobian_norm`, {"value", "se", "n", "unit"}, in squared units of code per one of x."""
    return entry(jacobian_norm(pair, x, given), "squared change of the code per squared change of x")
