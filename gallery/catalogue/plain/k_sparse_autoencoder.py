"""k-sparse autoencoder: the code keeps its k largest units. The others are 0 and get no gradient."""

import torch
from torch import Tensor

from gallery.catalogue.plain._heads import log_p
from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Compute the mean of -log p(x | z) over x, (n, data_dim), at its code z, in nats per data point."""
    h = pair.encoder(x)
    values, units = h.topk(pair.k, dim=-1)
    z = torch.zeros_like(h).scatter(-1, units, values)
    hidden, head = pair.decoder
    return -log_p(head, hidden(z), x).mean()
