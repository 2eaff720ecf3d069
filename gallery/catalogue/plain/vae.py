"""z ~ Normal(0, I), x ~ p(x | decoder(z)); the guide is Normal(mu(x), diag sigma(x)^2)."""

import torch
from torch import Tensor

from gallery.catalogue.plain._heads import log_p, normal
from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Estimate -ELBO of x, (n, data_dim), with one sample of z per data point and the KL in closed form, in nats."""
    hidden, head = pair.encoder
    mu, sigma = normal(head, hidden(x))
    z = mu + sigma * torch.randn_like(mu)  # (n, latent_dim)
    kl = ((mu.square() + sigma.square() - 1) / 2 - sigma.log()).sum(-1)  # KL(q(z | x) || p(z))
    hidden, head = pair.decoder
    return (kl - log_p(head, hidden(z), x)).mean()
