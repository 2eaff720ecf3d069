"""The code of a corrupted image has to tell the clean one."""

import torch
from torch import Tensor, nn

from gallery.catalogue.plain._heads import log_p


def loss(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> Tensor:
    """-log p(x | z) of the clean x, (n, data_dim), at the code of a corrupted one: nats per datum."""
    u = torch.rand_like(x)
    corrupted = (x + pair.level * u).clamp(0, 1) if pair.corruption == "uniform" else pair.corrupt(x, u)
    z = pair.encoder(corrupted)
    hidden, head = pair.decoder
    return -log_p(head, hidden(z), x).mean()
