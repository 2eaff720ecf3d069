"""k-sparse autoencoder: the code keeps its k largest units and no others.

    z ~ flat                         the code, z in R^latent_dim
    x ~ p(x | decoder(z))            the model of autoencoder.py

    h = ReLU(A x + a)                how the guide finds the code: activations, latent_dim of them,
    z_j = h_j if h_j is among the k largest of h, else 0

At most k codes of a datum are not zero, always: k units are chosen, ties or not, and a ReLU may have silenced some of
them. No penalty has to be weighed against the error, and -ELBO is the reconstruction loss. The gradient reaches the k
chosen units only, so with a small k from the start many units are never chosen again and stay dead (at k = 10, 101 of
144 after 8 epochs on grey MNIST). The paper lowers k while training for that; here k is what it is from the start.

    Makhzani and Frey, k-sparse autoencoders, 2014 (there h = A x + a; the ReLU is the slides').
"""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from gallery.models.autoencoder import Autoencoder

__all__ = ["KSparseAutoencoder"]


class KSparseAutoencoder(Autoencoder):
    """x: (n, data_dim). At most k of the latent_dim codes of a datum are not zero.

    :param k: number of codes that are kept
    """

    capabilities = ("k",)

    def __init__(self, *, k: int = 44, **kwargs):
        super().__init__(**kwargs)
        if not 1 <= k <= self.latent_dim:
            raise ValueError(f"k, how many codes are kept, is between 1 and latent_dim = {self.latent_dim}, not {k}.")
        self.k = k

    def largest(self, h: Tensor) -> Tensor:
        """h with all but its k largest values of every row at 0, (n, latent_dim)."""
        values, units = h.topk(self.k, dim=-1)
        return torch.zeros_like(h).scatter(-1, units, values)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Delta(self.largest(self.encoder(x)), event_dim=1))
