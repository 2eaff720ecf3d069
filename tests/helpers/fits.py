"""Tiny fits for tests of `inference.fit`."""

import torch
from cases import arguments, build
from cases import objective as usual_objective

from inference import SVI, Settings, objective
from inference.pairs.info import inspect_pair


def tiny_fit(name, mode, double=True, **settings):
    torch.manual_seed(0)
    pair, args = build(name), arguments(name, torch.float64 if double else torch.float32)
    settings = {"objective": usual_objective(name), "batch_size": 4, "epochs": 1} | settings
    svi = SVI(pair.double() if double else pair, *args, settings=Settings(**settings))
    svi.runner.mode = mode
    return svi


def run_steps(svi, n=4, seed=1):
    torch.manual_seed(seed)
    return torch.stack([svi.train_step() for _ in range(n)])


def fit_with(pair, name, x, given=None, **settings):
    """Return an SVI whose estimator is the objective called `name`."""
    svi = SVI(pair, x, given, Settings(**settings))
    svi.loss.estimator = objective(
        name, 1, inspect_pair(pair, svi.loss.batch(torch.arange(len(x))[:2])).has_global_latent
    )
    return svi


def loss_and_gradient(svi, rows=None, seed=1, weights=None):
    """Return (loss in nats, gradient of all weights in one row) for one stream of noise."""
    torch.manual_seed(seed)
    loss = svi.loss(torch.arange(len(svi.x)) if rows is None else rows)
    options = {"allow_unused": True, "materialize_grads": True}
    gradients = torch.autograd.grad(loss, svi.parameters if weights is None else weights, **options)
    return loss.detach(), torch.cat([g.flatten() for g in gradients])
