"""Denoising autoencoder: reconstruct the clean image from the code of a corrupted one."""

import torch
from torch import Tensor

from gallery.catalogue.plain._heads import log_p
from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Compute the mean of -log p(x | z) over clean x, (n, data_dim), at z of corrupted x, in nats per data point."""
    u = torch.rand_like(x)
    corrupted = (x + pair.level * u).clamp(0, 1) if pair.corruption == "uniform" else pair.corrupt(x, u)
    z = pair.encoder(corrupted)
    hidden, head = pair.decoder
    return -log_p(head, hidden(z), x).mean()
