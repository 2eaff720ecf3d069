"""Hamiltonian Monte Carlo by Pyro's NUTS on the model of a pair: draws from the exact posterior, when it converges.

It takes the model alone, in evaluation mode and with all data at once: global latents, or those of a few data under
weights that were fitted. Discrete latents are summed out by Pyro.

    Hoffman and Gelman, The No-U-Turn sampler, 2014.
    Vehtari, Gelman, Simpson, Carpenter and Buerkner, Rank-normalization, folding, and localization: an improved R-hat,
    2021 (how to read R-hat and ESS).
"""

import torch
from pyro.infer import MCMC, NUTS
from pyro.ops.stats import effective_sample_size, split_gelman_rubin
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.pairs.info import continuous_latents
from inference.pairs.run import arguments, eval_mode

DENSE = 100  # coordinates up to which the mass matrix is dense, and follows the correlations of the posterior


def nuts(
    pair: nn.Module,
    x: Tensor,
    given: Tensor | None = None,
    draws: int = 1000,
    warmup: int = 500,
    chains: int = 2,
    seed: int = 0,
) -> dict:
    """Draws from p(latents | x) by NUTS, chain after chain, each from a start of its own.

    :param draws: kept of each chain
    :param warmup: steps before, in which step size and mass matrix adapt
    :return: "draws", {site: (chains, draws, ...)}; "summary", {site: what `summary` tells of it}; "divergences", the
        number of draws at which the integrator went astray: with any, or with an R-hat above 1.01, do not trust them;
        and "gradients", how often the model was run for one
    :raises InferenceError: if there is no continuous latent, one has a discrete parent, or its prior is flat
    """
    for name, value, least in (("draws", draws, 4), ("warmup", warmup, 1), ("chains", chains, 1)):
        if value < least:
            raise InferenceError(f"{name} must be at least {least}, not {value}.")
    found, divergences, gradients = [], 0, 0

    def model(*args: Tensor) -> None:
        nonlocal gradients
        gradients += 1
        pair.model(*args)

    with eval_mode(pair, seed), torch.enable_grad():
        args = arguments(pair, x, given)
        size = sum(site["value"].numel() for site in continuous_latents(pair, args).values())
        for _ in range(chains):
            mcmc = MCMC(NUTS(model, full_mass=size <= DENSE), draws, warmup, disable_progbar=True)
            mcmc.run(*args)
            found.append(mcmc.get_samples(group_by_chain=True))
            divergences += len(mcmc.diagnostics()["divergences"]["chain 0"])
    values = {name: torch.cat([chain[name] for chain in found]).detach() for name in found[0]}
    return {
        "draws": values,
        "summary": {name: summary(value) for name, value in values.items()},
        "divergences": divergences,
        "gradients": gradients,
    }


def summary(value: Tensor) -> dict[str, Tensor]:
    """Of (chains, draws, ...): "mean", "sd", "mcse", the standard error of the mean, split "r_hat" and "ess", (...)."""
    sd, ess = value.flatten(0, 1).std(0), effective_sample_size(value)
    return {
        "mean": value.flatten(0, 1).mean(0),
        "sd": sd,
        "mcse": sd / ess.sqrt(),
        "r_hat": split_gelman_rubin(value),
        "ess": ess,
    }
