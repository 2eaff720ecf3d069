"""z ~ Normal(0, I), x ~ p(x | decoder(z)); the guide is Normal(mu(x), diag sigma(x)^2)."""

import torch
from torch import Tensor

from gallery.catalogue.plain._heads import log_p, normal
from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Estimate -ELBO of x, (n, data_dim), with one sample of z per data point, in nats per data point."""
    hidden, head = pair.encoder
    mu, sigma = normal(head, hidden(x))
    eps = torch.randn_like(mu)
    z = mu + sigma * eps  # (n, latent_dim)
    log_ratio = ((z.square() - eps.square()) / 2 - sigma.log()).sum(-1)  # log q - log p: their constants cancel
    hidden, head = pair.decoder
    return (log_ratio - log_p(head, hidden(z), x)).mean()
