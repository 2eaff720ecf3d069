"""Sparse autoencoder: a penalty moves the mean activation of every unit of the code towards rho."""

import math

from torch import Tensor

from gallery.catalogue.plain._heads import log_p
from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Compute the mean of -log p(x | z) over x, (n, data_dim), plus their penalty, in nats per data point."""
    rho, z = pair.rho, pair.encoder(x)  # (n, latent_dim), in (0, 1)
    rho_hat = z.mean(0)
    kl = rho * (math.log(rho) - rho_hat.log()) + (1 - rho) * (math.log(1 - rho) - (-rho_hat).log1p())
    hidden, head = pair.decoder
    return pair.weight * kl.sum() - log_p(head, hidden(z), x).mean()
