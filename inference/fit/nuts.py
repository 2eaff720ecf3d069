"""Hamiltonian Monte Carlo by Pyro's NUTS on the model of a pair: draws from the exact posterior, if it converges.

The sampler runs the model alone, in evaluation mode and on all data at once. It suits global latents, or the latents of
a few data points under fitted weights. Pyro sums out discrete latents.

    Hoffman and Gelman, The No-U-Turn sampler, 2014.
    Vehtari, Gelman, Simpson, Carpenter and Buerkner, Rank-normalization, folding, and localization: an improved R-hat,
    2021.
"""

import math
from typing import Any

import numpy as np
import torch
from pyro.infer import MCMC, NUTS
from pyro.ops.stats import effective_sample_size, gelman_rubin
from torch import Tensor

from inference.counts import whole_number
from inference.pairs.fitted_rows import check_rows
from inference.pairs.info import continuous_latents
from inference.pairs.pair import Pair
from inference.pairs.run import arguments, eval_mode

__all__ = ["nuts", "rank_r_hat", "summary"]

DENSE = 100  # coordinates up to which the mass matrix is dense, so that it adapts to correlations of the posterior


def nuts(
    pair: Pair,
    x: Tensor,
    given: Tensor | None = None,
    draws: int = 1000,
    warmup: int = 500,
    chains: int = 2,
    seed: int = 0,
) -> dict[str, Any]:
    """Draw from p(latents | x) by NUTS. The chains run one after another, each from a different start.

    Do not use the draws if there are divergences, or if an R-hat is above 1.01.

    Hoffman and Gelman, The No-U-Turn sampler, 2014.

    >>> import torch
    >>> from inference import nuts
    >>> from inference.examples import LinearGaussian
    >>> result = nuts(LinearGaussian(), torch.zeros(3, 1), draws=4, warmup=4, chains=2)
    >>> result["draws"]["z"].shape
    torch.Size([2, 4, 3, 1])

    :param pair: the model, whose guide is not used
    :param x: (n, ...) all the data
    :param given: (n, ...) labels or covariates, for a conditional model
    :param draws: number of draws of each chain
    :param warmup: steps before them, in which step size and mass matrix adapt
    :param chains: number of chains
    :param seed: of the noise
    :return: "draws", {site: (chains, draws, ...)}; "summary", {site: mean, sd, mcse, r_hat and ess}; "divergences", the
        number of draws at which the integrator diverged; "gradients", the number of gradient evaluations of the model,
        and "gradients_at", (chains, draws), those of each chain up to each draw
    :raises InferenceError: if draws < 4, warmup < 1 or chains < 1, if there is no continuous latent, if one has a
        discrete parent or a flat prior, or if a model with parameters for each data point is used outside `FittedRows`
    """
    draws = whole_number(draws, "draws", least=4)
    warmup, chains = whole_number(warmup, "warmup"), whole_number(chains, "chains")
    runs: list[dict[str, Tensor]] = []
    counts: list[int] = []  # of gradients, after every step of all chains
    divergences = gradients = 0

    def model(*args: Tensor) -> None:
        nonlocal gradients
        gradients += 1
        pair.model(*args)

    with eval_mode(pair, seed, "nuts"), torch.enable_grad():
        check_rows(pair, args := arguments(pair, x, given), model_alone=True)
        size = sum(site["value"].numel() for site in continuous_latents(pair, args).values())
        for _ in range(chains):
            kernel = NUTS(model, full_mass=size <= DENSE)
            mcmc = MCMC(kernel, draws, warmup, disable_progbar=True, hook_fn=lambda *_: counts.append(gradients))
            mcmc.run(*args)
            runs.append(mcmc.get_samples(group_by_chain=True))
            divergences += len(mcmc.diagnostics()["divergences"]["chain 0"])
    values = {name: torch.cat([chain[name] for chain in runs]).detach() for name in runs[0]}
    after = torch.tensor(counts).view(chains, warmup + draws)
    begun = torch.cat([after.new_zeros(1), after[:-1, -1]])  # those of the chains before
    return {
        "draws": values,
        "summary": {name: summary(value) for name, value in values.items()},
        "divergences": divergences,
        "gradients": gradients,
        "gradients_at": after[:, warmup:] - begun.unsqueeze(1),
    }


def summary(value: Tensor) -> dict[str, Tensor]:
    """Summarise draws.

    A coordinate that has the same value in all draws, such as a zero of a Cholesky factor, has neither R-hat nor ESS.

    :param value: (chains, draws, ...)
    :return: "mean", "sd", "mcse" (the Monte Carlo standard error of the mean), "r_hat" (`rank_r_hat`) and "ess"
        (effective sample size, at most N log10 N of N draws), (...) each, and "constant", booleans; where constant,
        "mcse" is 0, "r_hat" and "ess" are nan
    """
    constant = (value == value[:1, :1]).flatten(0, 1).all(0)
    sd = value.flatten(0, 1).std(0)
    ess, n = torch.full_like(sd, torch.nan), value.shape[0] * value.shape[1]
    time = n / effective_sample_size(value[:, :, ~constant])  # of autocorrelation; below 0 if that is strongly negative
    ess[~constant] = n / time.clamp(min=1 / math.log10(n))
    return {
        "mean": value.flatten(0, 1).mean(0),
        "sd": sd,
        "mcse": torch.where(constant, 0.0, sd / ess.sqrt()),
        "r_hat": rank_r_hat(value).where(~constant, torch.nan),
        "ess": ess,
        "constant": constant,
    }


def rank_r_hat(value: Tensor) -> Tensor:
    """Compute the rank-normalised split R-hat of Vehtari et al. (2021), (...): the larger of bulk and folded R-hat.

    The bulk R-hat sees chains that differ in location, the folded R-hat chains that differ in scale.

    :param value: (chains, draws, ...), at least 4 draws; the middle one of an odd number is left out

    >>> import torch
    >>> chains = torch.randn(4, 1000, generator=torch.Generator().manual_seed(0))
    >>> bool(rank_r_hat(chains) < 1.01), bool(rank_r_hat(chains * torch.tensor([[1.0], [1.0], [1.0], [4.0]])) > 1.1)
    (True, True)
    """
    half = value.shape[1] // 2
    halves = torch.cat([value[:, :half], value[:, -half:]]).double()
    folded = (halves - torch.as_tensor(np.median(halves.flatten(0, 1).cpu(), axis=0)).to(halves)).abs()
    return torch.maximum(gelman_rubin(_normal_scores(halves)), gelman_rubin(_normal_scores(folded)))


def _normal_scores(value: Tensor) -> Tensor:
    """Replace draws by the normal quantiles of their ranks among all chains, ties by their mean rank."""
    from scipy.stats import rankdata  # loads for a second

    flat = value.flatten(0, 1)
    ranks = torch.as_tensor(rankdata(flat.cpu().numpy(), axis=0), device=value.device)
    return torch.special.ndtri((ranks - 0.375) / (len(flat) + 0.25)).view_as(value)
