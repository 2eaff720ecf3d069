"""Stochastic variational inference in ten lines, as the page on inference shows it: by Pyro, with nothing of ours."""

import pyro
import torch
from pyro.infer import SVI, Trace_ELBO


def fit(pair, x, epochs=20, batch_size=100, lr=1e-3):
    adam = pyro.optim.Adam({"lr": lr})
    svi = SVI(pair.model, pair.guide, adam, Trace_ELBO())
    losses = []
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch_size):
            loss = svi.step(x[rows], len(x))  # for all of x
            losses.append(loss / len(x))
    return losses
