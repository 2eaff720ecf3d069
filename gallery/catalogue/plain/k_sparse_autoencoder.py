"""An autoencoder whose code keeps its k largest units; the others are 0, and no gradient reaches them."""

import torch
from torch import Tensor, nn

from gallery.catalogue.plain._heads import log_p


def loss(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> Tensor:
    """-log p(x | z) of x, (n, data_dim), at its code: nats per datum."""
    h = pair.encoder(x)
    values, units = h.topk(pair.k, dim=-1)
    z = torch.zeros_like(h).scatter(-1, units, values)
    hidden, head = pair.decoder
    return -log_p(head, hidden(z), x).mean()
