"""Contractive autoencoder: a penalty on the Jacobian of the code, in closed form for one sigmoid layer."""

from torch import Tensor

from gallery.catalogue.plain._heads import log_p
from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Compute the mean of -log p(x | z) + weight * |dz / dx|_F^2 over x, (n, data_dim), in nats per data point."""
    z = pair.encoder(x)  # sigmoid(A x + a)
    A = pair.encoder[0].weight  # (latent_dim, data_dim)
    norm = ((z * (1 - z)).square() * A.square().sum(1)).sum(-1)
    hidden, head = pair.decoder
    return (pair.weight * norm - log_p(head, hidden(z), x)).mean()
