"""A code z = encoder(x) under a flat prior: the loss is that of the reconstruction, and nothing is drawn."""

from torch import Tensor, nn

from gallery.catalogue.plain._heads import log_p


def loss(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> Tensor:
    """-log p(x | z) of x, (n, data_dim), at its code: nats per datum."""
    z = pair.encoder(x)
    hidden, head = pair.decoder
    return -log_p(head, hidden(z), x).mean()
