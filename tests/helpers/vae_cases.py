"""Small VAEs of several kinds, with their loss and gradient at fixed noise."""

import torch
from cases import SMALL

from gallery.models.gmvae import GMVAE
from gallery.models.ss_vae import SSVAE
from gallery.models.vrnn import VRNN
from inference import (
    SVI,
    Settings,
    param_scope,
)
from inference.pairs.run import importance_traces

N, C = 12, 3


def small(cls, **more):
    names = {
        GMVAE: ("data_dim", "components", "latent_dim", "hidden"),
        SSVAE: ("data_dim", "classes", "latent_dim", "hidden"),
        VRNN: ("data_dim", "steps", "latent_dim", "state_dim", "hidden"),
    }
    names = next(names[parent] for parent in cls.__mro__ if parent in names)
    torch.manual_seed(1)
    return cls(**{name: SMALL[name] for name in names}, **more).double()


def svi(pair, x, given=None, objective="trace", **settings):
    return SVI(pair, x, given, Settings(objective=objective, **settings))


def loss(fit, seed=2):
    torch.manual_seed(seed)
    return fit.loss(torch.arange(N))


def gradient(fit, seed=2):
    value, pair = loss(fit, seed), fit.pair
    return value, torch.cat([g.flatten() for g in torch.autograd.grad(value, list(pair.parameters()))])


def drawn_z(pair, *args, seed=2):
    """The z that the guide draws for every y, (C, n, latent_dim)."""
    torch.manual_seed(seed)
    with param_scope():
        return importance_traces(pair, args)[1].nodes["z"]["value"]


def close(a, b, tolerance=1e-8):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)
