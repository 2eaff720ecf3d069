"""Stochastic variational inference in ten lines of Pyro, for the page on inference. It uses nothing of this project."""

import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import Adam  # type: ignore[attr-defined]  # made at run time
from torch import Tensor

from inference import Pair

__all__ = ["fit"]


def fit(pair: Pair, x: Tensor, epochs: int = 20, batch_size: int = 100, lr: float = 1e-3) -> list[float]:
    adam = Adam({"lr": lr})
    svi = SVI(pair.model, pair.guide, adam, Trace_ELBO())
    losses = []
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch_size):
            loss = svi.step(x[rows], len(x))  # an estimate for all of x
            losses.append(loss / len(x))
    return losses
