"""Autoencoder: a code z = encoder(x) under a flat prior. The loss is the reconstruction loss, without sampling."""

from torch import Tensor

from gallery.catalogue.plain._heads import log_p
from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Compute the mean of -log p(x | z) over x, (n, data_dim), at its code z, in nats per data point."""
    z = pair.encoder(x)
    hidden, head = pair.decoder
    return -log_p(head, hidden(z), x).mean()
