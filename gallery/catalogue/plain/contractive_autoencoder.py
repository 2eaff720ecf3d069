"""An autoencoder with a penalty on the Jacobian of its code: of one sigmoid layer it has a closed form."""

from torch import Tensor, nn

from gallery.catalogue.plain._heads import log_p


def loss(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> Tensor:
    """-log p(x | z) of x, (n, data_dim), at its code, and weight * |dz / dx|_F^2: nats per datum."""
    z = pair.encoder(x)  # sigmoid(A x + a)
    A = pair.encoder[0].weight  # (latent_dim, data_dim)
    norm = ((z * (1 - z)).square() * A.square().sum(1)).sum(-1)
    hidden, head = pair.decoder
    return (pair.weight * norm - log_p(head, hidden(z), x)).mean()
