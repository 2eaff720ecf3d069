"""Small autoencoders, digits to fit them to, and their losses written out in plain PyTorch."""

import math

import torch
import torch.nn.functional as F
from torch.autograd.functional import jacobian

import data
from gallery.models import MODELS
from gallery.models.denoising_autoencoder import DenoisingAutoencoder
from inference import SVI, Settings, reconstruct

N, D, UNITS = 12, 7, 5


CASES = [
    ("autoencoder", {}),
    ("autoencoder:map", {}),
    *[("denoising_autoencoder", {"corruption": kind, "level": 0.3}) for kind in ("uniform", "masking")],
    *[("denoising_autoencoder", {"corruption": kind, "level": 0.3}) for kind in ("gaussian", "salt_pepper")],
    ("sparse_autoencoder", {"rho": 0.1, "weight": 2.0}),
    ("sparse_autoencoder:deep", {"hidden": (6, 4)}),
    ("k_sparse_autoencoder", {"k": 2}),
    ("contractive_autoencoder", {"weight": 0.5}),
    ("contractive_autoencoder:deep", {"hidden": (6,)}),
]


def small(name, **keywords):
    return MODELS[name](**{"data_dim": D, "latent_dim": UNITS, **keywords}).double()


def pixels(n=N, d=D):
    return torch.rand(n, d, dtype=torch.float64)


def layers(module):
    return [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)]


def stated_loss_terms(name, pair, x, u):
    """(error, penalty, log prior) of every datum, each (n,), written out without Pyro; u is the noise."""
    family = name.partition(":")[0]
    if family == "denoising_autoencoder":
        seen = {
            "uniform": lambda: torch.minimum(x + 0.3 * u, torch.ones_like(x)),
            "masking": lambda: x * (u > u.sort(dim=1).values[:, [round(0.3 * D) - 1]]),
            "gaussian": lambda: x + 0.3 * math.sqrt(2) * torch.erfinv(2 * u - 1),
            "salt_pepper": lambda: x * ((u >= 0.15) & (u <= 0.85)) + (u > 0.85),
        }[pair.corruption]()
    else:
        seen = x
    sigmoid = family in ("sparse_autoencoder", "contractive_autoencoder")
    h, hidden = seen, []
    for layer in layers(pair.encoder):
        h = F.linear(h, layer.weight, layer.bias)
        h = 1 / (1 + (-h).exp()) if sigmoid else h * (h > 0)
        hidden.append(h)
    if family == "k_sparse_autoencoder":
        h = h * (h >= h.sort(dim=1).values[:, [UNITS - pair.k]])
    penalty = torch.zeros(len(x), dtype=x.dtype)
    if family == "sparse_autoencoder":
        for units in hidden:
            r, s = pair.rho, units.mean(0)
            penalty = penalty + pair.weight * (r * (r / s).log() + (1 - r) * ((1 - r) / (1 - s)).log()).sum()
    if family == "contractive_autoencoder":
        penalty = pair.weight * torch.stack([jacobian(pair.encoder, row).square().sum() for row in x])
    log_prior = -0.5 * h.square().sum(1) - 0.5 * UNITS * math.log(2 * math.pi)
    for layer in layers(pair.decoder):
        h = F.linear(h.clamp(min=0) if layer is not layers(pair.decoder)[0] else h, layer.weight, layer.bias)
    head = pair.decoder[-1]
    if head.likelihood == "bernoulli":
        error = -(x * F.logsigmoid(h) + (1 - x) * F.logsigmoid(-h)).sum(1)
    else:
        scale = F.softplus(head.pre_scale)
        error = (x - h.sigmoid()).square().sum(1) / (2 * scale**2) + D * (scale * math.sqrt(2 * math.pi)).log()
    return error, penalty, log_prior if name == "autoencoder:map" else torch.zeros_like(error)


def corrupted(kind, x, level):
    pair = DenoisingAutoencoder(corruption=kind, level=level, data_dim=x.shape[1], latent_dim=2)
    return pair.corrupt(x)


def digits():
    return data.load("digits:grey"), data.load("digits:grey", "test")


def fitted(name, epochs, lr=1e-2, **keywords):
    torch.manual_seed(0)
    pair, (train, _) = MODELS[name](data_dim=64, **keywords), digits()
    for _ in SVI(pair, train.x, settings=Settings(epochs=epochs, lr=lr)):
        pass
    return pair


def error(pair, x):
    return (reconstruct(pair, x) - x).square().sum(1).mean().item()
