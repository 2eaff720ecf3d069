"""The steps of the benchmark as one writes them without Pyro: a loss over the weights of the gallery's own pair.

Each estimates what the objective of its case does: for the same noise, the loss of SVI's step. A draw is
z = mu + sigma eps, so the log-density of the guide is that of eps less log sigma, and its constant is the prior's too.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inference import Settings

from ..models._nn import BOUND
from .stock import Turn, minibatches


def factor_analysis(pair: nn.Module, x: Tensor) -> Tensor:
    """Loss in nats per datum for x of (n, data_dim), as all others here."""
    L, sigma = pair.phi["L"].tril(), F.softplus(pair.theta["pre_sigma"])
    mu = x @ pair.phi["V"].T
    eps = torch.randn_like(mu)
    z = mu + eps @ L.T  # (n, latent_dim)
    residual = (x - z @ pair.theta["W"].T) / sigma
    log_p = -(residual.square() / 2 + sigma.log() + math.log(2 * math.pi) / 2).sum(-1)
    kl = (z.square() - eps.square()).sum(-1) / 2 - L.diagonal().abs().log().sum()
    return (kl - log_p).mean()


def _normal(head: nn.Module, h: Tensor) -> tuple[Tensor, Tensor]:
    mu, pre_sigma = head.linear(h).chunk(2, dim=-1)
    return mu, F.softplus(pre_sigma)


def _log_norm(logits: Tensor) -> Tensor:
    """log((exp(l) - 1) / l), what makes a continuous Bernoulli a density."""
    size = logits.abs().clamp(min=1e-3)
    return (logits + size) / 2 + (-(-size).expm1() / size).log()


def vae(pair: nn.Module, x: Tensor) -> Tensor:
    mu, sigma = _normal(pair.encoder[1], pair.encoder[0](x))
    eps = torch.randn_like(mu)
    z = mu + sigma * eps  # (n, latent_dim)
    kl = (z.square() - eps.square()).sum() / 2 - sigma.log().sum()
    logits = pair.decoder[1].linear(pair.decoder[0](z))  # (n, data_dim)
    if pair.decoder[1].likelihood == "bernoulli":
        return (kl + F.binary_cross_entropy_with_logits(logits, x, reduction="sum")) / len(x)
    logits = BOUND * (logits / BOUND).tanh()
    return (kl - (logits * x - _log_norm(logits)).sum()) / len(x)


def gmvae(pair: nn.Module, x: Tensor) -> Tensor:
    y = torch.eye(pair.components, dtype=x.dtype, device=x.device)
    log_q = pair.classifier(x).log_softmax(dim=-1).T  # (components, n)
    loc, scale = (part.unsqueeze(1) for part in _normal(pair.prior, y))  # (components, 1, latent_dim)
    relu, hidden, head = pair.encoder.rest
    mu, sigma = _normal(head, hidden(relu(pair.encoder.of_x(x) + pair.encoder.of_y(y).unsqueeze(1))))
    z = mu + sigma * torch.randn_like(mu)  # (components, n, latent_dim)
    ratio = (sigma / scale).square()
    kl = (ratio + ((mu - loc) / scale).square() - 1 - ratio.log()).sum(-1) / 2
    logits = pair.decoder[1].linear(pair.decoder[0](z))  # (components, n, data_dim)
    of_x = F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
    return (log_q.exp() * (log_q + math.log(pair.components) + kl + of_x)).sum(0).mean()


def vrnn(pair: nn.Module, x: Tensor) -> Tensor:
    rows, (first, second) = x.reshape(len(x), pair.steps, -1), pair.recurrence
    x_t, z_t = torch.zeros_like(rows[:, 0]), x.new_zeros(len(x), pair.latent_dim)
    a = b = (x.new_zeros(len(x), first.hidden_size), x.new_zeros(len(x), first.hidden_size))
    passed = []
    for x_next in rows.unbind(1):
        a = first(torch.cat([x_t, z_t], dim=-1), a)
        b = second(a[0], b)
        x_t = x_next
        mu, sigma = _normal(pair.encoder[1], pair.encoder[0](torch.cat([b[0], x_t], dim=-1)))
        eps = torch.randn_like(mu)
        z_t = mu + sigma * eps
        passed.append((b[0], z_t, sigma, eps))
    h, z, sigma, eps = (torch.stack(part, dim=1) for part in zip(*passed, strict=True))  # (n, steps, ...)
    loc, scale = _normal(pair.prior[1], pair.prior[0](h))
    kl = (((z - loc) / scale).square() - eps.square()).sum() / 2 + (scale / sigma).log().sum()
    logits = pair.decoder[1].linear(pair.decoder[0](torch.cat([h, z], dim=-1)))
    return (kl + F.binary_cross_entropy_with_logits(logits, rows, reduction="sum")) / len(x)


LOSSES: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "factor_analysis": factor_analysis,
    "vae": vae,
    "gmvae": gmvae,
    "vrnn": vrnn,
}


def fitted(loss: Callable[[nn.Module, Tensor], Tensor], pair: nn.Module, x: Tensor, settings: Settings) -> Turn:
    """Steps of `loss` with Adam, data in memory."""
    return _turn(partial(loss, pair), torch.optim.Adam(pair.parameters(), settings.lr), x, settings)


def fitted_compiled(
    loss: Callable[[nn.Module, Tensor], Tensor], pair: nn.Module, x: Tensor, settings: Settings
) -> Turn:
    """The same with the loss through torch.compile, in the way that suits the device, and Adam in one kernel."""
    mode = "reduce-overhead" if x.is_cuda else None
    compiled = torch.compile(partial(loss, pair), fullgraph=True, dynamic=False, mode=mode)
    return _turn(compiled, torch.optim.Adam(pair.parameters(), settings.lr, fused=True), x, settings)


def _turn(loss: Callable[[Tensor], Tensor], optimiser: torch.optim.Optimizer, x: Tensor, settings: Settings) -> Turn:
    batches = minibatches(settings.batch_size, x)

    def step() -> Tensor:
        value = loss(*next(batches))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        return value.detach()

    return lambda steps: [step() for _ in range(steps)]
