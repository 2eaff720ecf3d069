"""k-sparse autoencoder: a code that keeps its k largest units and no others.

    z ~ flat                         the code, z in R^latent_dim
    x ~ p(x | decoder(z))            the model of autoencoder.py

    h = ReLU(A x + a)                the guide: latent_dim activations, of which the k largest are kept,
    z_j = h_j if h_j is among the k largest of h, else 0

At most k units of a code are not zero: exactly k are selected, ties included, and the ReLU may have set some of them to
zero. There is no penalty, and -ELBO is the reconstruction loss. The gradient reaches the k selected units only, so with
a small k from the start many units are never selected again and stay dead (at k = 10, 101 of 144 after 8 epochs on grey
MNIST). To avoid that, the paper lowers k during training; here k is constant.

    >>> import torch
    >>> pair = KSparseAutoencoder(data_dim=6, latent_dim=4, k=2)
    >>> pair.largest(torch.tensor([[0.5, 3.0, 1.0, 2.0]]))
    tensor([[0., 3., 0., 2.]])

    Makhzani and Frey, k-sparse autoencoders, 2014 (there h = A x + a, without the ReLU).
"""

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from gallery.models.autoencoder import Autoencoder

__all__ = ["KSparseAutoencoder"]


class KSparseAutoencoder(Autoencoder):
    """x: (n, data_dim); z: (n, latent_dim). At most k units of a code are not zero.

    :param k: number of units that are kept
    :raises ValueError: if k is not between 1 and latent_dim
    """

    capabilities: tuple[str, ...] = ("k",)

    def __init__(self, *, k: int = 44, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 1 <= k <= self.latent_dim:
            raise ValueError(f"k, the units kept, must be between 1 and latent_dim = {self.latent_dim}, not {k}.")
        self.k = k

    def largest(self, h: Tensor) -> Tensor:
        """Return h with all but the k largest values of each row set to 0, (n, latent_dim)."""
        values, units = h.topk(self.k, dim=-1)
        return torch.zeros_like(h).scatter(-1, units, values)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Delta(self.largest(self.encoder(x)), event_dim=1))
