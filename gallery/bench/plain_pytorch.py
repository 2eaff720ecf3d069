"""The steps of the benchmark in plain PyTorch: the losses of `gallery.catalogue.plain` over the weights of the pair.

Each estimates the objective of its case: for the same noise it equals the loss of SVI's step. The cases of factor
analysis, VAE and VRNN have the KL sampled, which the recipes have in closed form, so their losses are written here. The
VRNN's is written for speed: the recurrence runs alone, and all terms that follow from it are evaluated for all rows at
once.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from gallery.bench.stock import Stepper, minibatches
from gallery.catalogue import plain
from gallery.catalogue.plain._heads import log_p, normal
from inference import Pair, Settings

__all__ = ["LOSSES", "compiled_stepper", "factor_analysis", "stepper", "vae", "vrnn"]


def factor_analysis(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Return the loss of factor analysis in nats per data point for x of shape (n, data_dim)."""
    L, sigma = pair.phi["L"].tril(), F.softplus(pair.theta["pre_sigma"])
    L = L * L.diagonal().sign()
    mu = x @ pair.phi["V"].T
    eps = torch.randn_like(mu)
    z = mu + eps @ L.T  # (n, latent_dim)
    residual = (x - z @ pair.theta["W"].T) / sigma
    log_likelihood = -(residual.square() / 2 + sigma.log() + math.log(2 * math.pi) / 2).sum(-1)
    log_ratio = (z.square() - eps.square()).sum(-1) / 2 - L.diagonal().log().sum()  # log q(z | x) - log p(z)
    return (log_ratio - log_likelihood).mean()


def vae(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Return the loss of the VAE in nats per data point for x of shape (n, data_dim)."""
    hidden, head = pair.encoder
    mu, sigma = normal(head, hidden(x))
    eps = torch.randn_like(mu)
    z = mu + sigma * eps  # (n, latent_dim)
    log_ratio = ((z.square() - eps.square()) / 2 - sigma.log()).sum(-1)  # log q - log p: their constants cancel
    hidden, head = pair.decoder
    return (log_ratio - log_p(head, hidden(z), x)).mean()


def vrnn(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Return the loss of the VRNN in nats per data point for x of shape (n, data_dim)."""
    rows, (first, second) = x.reshape(len(x), pair.steps, -1), pair.recurrence
    x_t, z_t = torch.zeros_like(rows[:, 0]), x.new_zeros(len(x), pair.latent_dim)
    a = b = (x.new_zeros(len(x), first.hidden_size), x.new_zeros(len(x), first.hidden_size))
    steps = []
    for x_next in rows.unbind(1):
        a = first(torch.cat([x_t, z_t], dim=-1), a)
        b = second(a[0], b)
        x_t = x_next
        mu, sigma = normal(pair.encoder[1], pair.encoder[0](torch.cat([b[0], x_t], dim=-1)))
        eps = torch.randn_like(mu)
        z_t = mu + sigma * eps
        steps.append((b[0], z_t, sigma, eps))
    h, z, sigma, eps = (torch.stack(part, dim=1) for part in zip(*steps, strict=True))  # (n, steps, ...)
    loc, scale = normal(pair.prior[1], pair.prior[0](h))
    kl = (((z - loc) / scale).square() - eps.square()).sum() / 2 + (scale / sigma).log().sum()
    logits = pair.decoder[1].linear(pair.decoder[0](torch.cat([h, z], dim=-1)))
    return (kl + F.binary_cross_entropy_with_logits(logits, rows, reduction="sum")) / len(x)


LOSSES: dict[str, Callable[..., Tensor]] = plain.LOSSES | {
    "factor_analysis": factor_analysis,
    "vae": vae,
    "vrnn": vrnn,
}
"""Functions of (pair, x) or (pair, x, given); they return the loss, a scalar in nats per data point."""


def stepper(loss: Callable[..., Tensor], pair: Pair, data: tuple[Tensor, ...], settings: Settings) -> Stepper:
    """Return a function that takes steps of Adam on `loss`, with all data in memory.

    :param loss: loss(pair, *data) in nats per data point
    """
    return _stepper(partial(loss, pair), _adam(pair, settings), data, settings)


def compiled_stepper(loss: Callable[..., Tensor], pair: Pair, data: tuple[Tensor, ...], settings: Settings) -> Stepper:
    """Return the same steps with the loss through torch.compile, in the mode for the device, and Adam in one kernel."""
    mode = "reduce-overhead" if data[0].is_cuda else None
    compiled = torch.compile(partial(loss, pair), fullgraph=True, dynamic=False, mode=mode)
    return _stepper(compiled, _adam(pair, settings, fused=True), data, settings)


def _adam(pair: Pair, settings: Settings, fused: bool | None = None) -> torch.optim.Adam:
    return torch.optim.Adam(pair.parameters(), settings.lr, (0.9, settings.adam_beta2), fused=fused)


def _stepper(
    loss: Callable[..., Tensor], optimiser: torch.optim.Optimizer, data: tuple[Tensor, ...], settings: Settings
) -> Stepper:
    batches = minibatches(settings.batch_size, *data)

    def step() -> Tensor:
        value = loss(*next(batches))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        return value.detach()

    return lambda steps: [step() for _ in range(steps)]
