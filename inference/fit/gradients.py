"""Mean and variance of the gradient estimates of an objective."""

import math

import torch
from torch import Tensor

from inference.counts import whole_number
from inference.fit.svi import SVI
from inference.pairs.info import inspect_pair
from inference.pairs.run import cuda_devices
from inference.pairs.streams import seeded
from inference.products import using_products

__all__ = ["gradient_moments", "gradient_noise"]


def gradient_moments(svi: SVI, rows: Tensor, repeats: int) -> tuple[Tensor, Tensor]:
    """Compute mean and variance over noise of the gradient on one minibatch, at the present weights.

    Both are updated draw by draw (Welford), so no gradient is stored.

    :param rows: (b,) row numbers of the minibatch
    :param repeats: number of draws of the noise
    :return: (mean, variance), each (number of weights,) for all of `svi.parameters` concatenated, of the loss in nats
        per data point
    """
    step, args, n = svi.runner.prepare()[0], svi.loss.step_arguments(rows), len(svi.x)
    mean = squares = torch.zeros((), device=svi.x.device, dtype=torch.float64)
    for i in range(repeats):
        with torch.no_grad():
            _, _, *gradients = step(*args)
        given = zip(svi.parameters, gradients, strict=True)
        flat = torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in given]).double() / n
        away = flat - mean
        mean = mean + away / (i + 1)
        squares = squares + away * (flat - mean)
    return mean.detach(), squares.detach() / (repeats - 1)


def gradient_noise(svi: SVI, minibatches: int = 8, repeats: int = 32, seed: int = 0) -> dict[str, dict]:
    """Estimate the signal and the noise of the gradient of a fit at its present weights.

    The minibatches are the first ones of the fit. So objectives that are compared with the same seed and batch size get
    the same minibatches and the same noise.

    >>> import torch
    >>> from inference import SVI, Settings, gradient_noise
    >>> from inference.examples import LinearGaussian
    >>> fit = SVI(LinearGaussian(), torch.zeros(4, 1), settings=Settings(batch_size=2))
    >>> noise = gradient_noise(fit, minibatches=2, repeats=4)
    >>> sorted(noise), noise["guide"]["unit"]
    (['all', 'guide'], 'squared nats per data point')

    :param svi: the fit
    :param minibatches: number of minibatches
    :param repeats: draws of the noise on each minibatch
    :param seed: of the noise
    :return: a dictionary for the weights of "model", "guide" and "all", where there are any. "variance" is the variance
        over the noise on one minibatch, summed over weights and averaged over minibatches, and "se" its standard error.
        "squared_norm" is that of the mean gradient, corrected for its noise, so that it may be negative. "snr" is the
        square root of squared_norm / variance, 0 where squared_norm is negative. "minibatches", "repeats" and "unit"
        (of "variance", "se" and "squared_norm") are details
    :raises InferenceError: if there are fewer than 2 minibatches or repeats
    """
    minibatches = whole_number(minibatches, "minibatches", least=2)
    repeats = whole_number(repeats, "repeats", least=2)
    mean, variances = torch.zeros((), dtype=torch.float64, device=svi.x.device), []
    with seeded(seed, "gradient_noise", devices=cuda_devices(svi.pair)), using_products(svi.products):
        info = inspect_pair(svi.pair, svi.loss.batch(svi.rows(0)))
        for step in range(minibatches):
            of_one, variance = gradient_moments(svi, svi.rows(step), repeats)
            mean = mean + of_one / minibatches
            variances.append(variance)
    groups = {
        "all": svi.parameters,
        "model": info.generative_parameters.values(),
        "guide": info.inference_parameters.values(),
    }
    result, about = {}, {"minibatches": minibatches, "repeats": repeats, "unit": "squared nats per data point"}
    for name, group in groups.items():
        ids = {id(p) for p in group}
        kept = torch.cat([torch.full((p.numel(),), id(p) in ids, device=mean.device) for p in svi.parameters])
        if kept.any():
            noise = torch.stack([variance[kept].sum() for variance in variances])  # (minibatches,)
            total = noise.mean().item()
            squared_norm = mean[kept].square().sum().item() - total / (minibatches * repeats)
            result[name] = {
                "variance": total,
                "se": noise.std().item() / math.sqrt(minibatches),
                "squared_norm": squared_norm,
                "snr": math.sqrt(max(squared_norm, 0.0) / total) if total else math.inf,
                **about,
            }
    return result
