"""An autoencoder with a penalty that draws the mean activation of every unit of the code to rho."""

import math

from torch import Tensor, nn

from gallery.catalogue.plain._heads import log_p


def loss(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> Tensor:
    """-log p(x | z) of x, (n, data_dim), at its code, and the penalty of these n: nats per datum."""
    rho, z = pair.rho, pair.encoder(x)  # (n, latent_dim), in (0, 1)
    rho_hat = z.mean(0)
    kl = rho * (math.log(rho) - rho_hat.log()) + (1 - rho) * (math.log(1 - rho) - (-rho_hat).log1p())
    hidden, head = pair.decoder
    return pair.weight * kl.sum() - log_p(head, hidden(z), x).mean()
