"""Signal and noise of an objective's gradient."""

import math

import torch
from torch import Tensor

from inference.errors import InferenceError
from inference.fit.svi import SVI
from inference.pairs.info import inspect_pair
from inference.pairs.run import cuda_devices


def gradient_moments(svi: SVI, rows: Tensor, repeats: int) -> tuple[Tensor, Tensor]:
    """Mean and variance over repeated noise of the gradient on one minibatch, as it stands: each (number of weights,)
    for all of `svi.parameters` in a row, in nats per data point. In one pass: no gradient is kept."""
    args, n = svi._arguments(rows), len(svi.x)
    mean = squares = torch.zeros((), device=svi.x.device, dtype=torch.float64)
    for i in range(repeats):
        _, _, *gradients = svi.gradients(svi._lost, rows, svi._beta(), *args)
        given = zip(svi.parameters, gradients, strict=True)
        flat = torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in given]).double() / n
        away = flat - mean
        mean = mean + away / (i + 1)
        squares = squares + away * (flat - mean)
    return mean.detach(), squares.detach() / (repeats - 1)


def gradient_noise(svi: SVI, minibatches: int = 8, repeats: int = 32, seed: int = 0) -> dict[str, dict]:
    """Signal and noise of the gradient of an SVI at the weights it has, of all of them ("all") and of those of "model"
    and "guide", in nats per data point.

    The minibatches are the first of its stream, so with one seed and batch size they are the same for every objective,
    and so is the stream of noise. "variance" is the sum over weights of the variance over repeated noise on one
    minibatch, averaged over minibatches ("se" over those); "squared_norm" that of the mean gradient of all, less what
    its own noise adds, so that it may come out below 0; "snr" the root of their ratio, 0 where there is no signal.

    :raises InferenceError: of less than 2 minibatches or repeats
    """
    if min(minibatches, repeats) < 2:
        raise InferenceError(f"noise shows from 2 minibatches and repeats on, not {minibatches} and {repeats}.")
    mean, variances = torch.zeros((), dtype=torch.float64, device=svi.x.device), []
    with torch.random.fork_rng(cuda_devices(svi.pair)):
        rows = svi.rows(0)
        info = inspect_pair(svi.pair, svi._arguments(rows))
        torch.manual_seed(seed)
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
            variance = noise.mean().item()
            squared_norm = mean[kept].square().sum().item() - variance / (minibatches * repeats)
            result[name] = {
                "variance": variance,
                "se": noise.std().item() / math.sqrt(minibatches),
                "squared_norm": squared_norm,
                "snr": math.sqrt(max(squared_norm, 0.0) / variance) if variance else math.inf,
                **about,
            }
    return result
