"""Contractive autoencoder: a code with a small Jacobian with respect to the image.

    z ~ flat                      the code, z in (0, 1)^latent_dim
    x ~ p(x | decoder(z))         the model of autoencoder.py

The guide is the point z = h(x) = sigmoid(A x + a). Its factor `contraction` adds the penalty

    weight * |dh / dx|_F^2

to -ELBO, in nats per data point. The squared norm is the expected squared change of the code under small isotropic
noise on x, divided by the variance of the noise. A small reconstruction error needs codes that differ between data
points, and the penalty favours a constant code. Together they lead to a code that changes only along directions in
which the data vary. For one sigmoid layer the norm has a closed form, as cheap as the layer itself,

    |dh / dx|_F^2 = sum_j (h_j (1 - h_j))^2 |A_j|^2,    A_j row j of A.

For any other encoder, as in ``Deep``, reverse mode gives the Jacobian exactly, with one backward pass for each unit of
the code. Adding noise to the input and comparing codes, as denoising does, only estimates it.

The norm depends on the scale of the code: a small A and a large decoder have a small penalty at the same error. (Rifai
et al. tie the two: the decoder's matrix is A'.) Comparing two autoencoders at equal errors does not remove that
dependence. So report beside it the norm of the Jacobian of the whole map from x to its reconstruction, which does not
depend on the scale of the code.

    >>> import torch
    >>> pair, x = ContractiveAutoencoder(data_dim=6, latent_dim=2), torch.rand(5, 6)
    >>> torch.allclose(pair.penalty(x, pair.encoder(x)), jacobian_norm(pair.encoder, x), atol=1e-5)
    True

    Rifai, Vincent, Muller, Glorot and Bengio, Contractive auto-encoders: explicit invariance during feature
    extraction, 2011.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pyro
import pyro.distributions as dist
from torch import Tensor, nn
from torch.func import jacrev, vmap

from gallery.models.autoencoder import Autoencoder

__all__ = ["ContractiveAutoencoder", "Deep", "jacobian_norm"]


class ContractiveAutoencoder(Autoencoder):
    """x: (n, data_dim). One sigmoid layer, with the penalty in closed form.

    z: (n, latent_dim), in (0, 1).

    :param weight: weight of the penalty, in nats per data point
    :raises ValueError: if weight is negative or not finite
    """

    activation = nn.Sigmoid

    def __init__(self, *, weight: float = 0.1, **kwargs: Any) -> None:
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight, of the penalty, must be finite and not negative, not {weight}.")
        super().__init__(**kwargs)
        self.weight = weight

    def penalty(self, x: Tensor, h: Tensor) -> Tensor:
        """Compute |dh / dx|_F^2 at each row, (n,), for codes h of (n, latent_dim)."""
        A, _ = self.encoder.parameters()  # of its one layer; A is (latent_dim, data_dim)
        return (h * (1 - h)).square() @ A.square().sum(1)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Delta(self.encoder(x), event_dim=1))  # (n, latent_dim)
            pyro.factor("contraction", self.weight * self.penalty(x, z), has_rsample=True)  # in a guide, + is a cost


class Deep(ContractiveAutoencoder):
    """x: (n, data_dim). Several sigmoid layers lead to the code, with the penalty from their Jacobian.

    z: (n, latent_dim), in (0, 1).

    :param hidden: widths of the layers between pixels and code; the decoder has them in reverse, with ReLUs
    """

    def __init__(self, *, hidden: Sequence[int] = (256,), **kwargs: Any) -> None:
        self.hidden = tuple(hidden)  # read by Autoencoder
        super().__init__(**kwargs)

    def penalty(self, x: Tensor, h: Tensor) -> Tensor:
        """Compute |dh / dx|_F^2 at each row, (n,), by reverse mode."""
        return jacobian_norm(self.encoder, x)


def jacobian_norm(f: Callable[[Tensor], Tensor], x: Tensor, rows: int = 100) -> Tensor:
    """Compute |df / dx|_F^2 exactly at each row of x: (n, d) to (n,).

    :param f: a function of one row, (d,) to (m,)
    :param x: (n, d)
    :param rows: number of rows evaluated at a time; bounds the memory
    """
    return vmap(lambda x_i: jacrev(f)(x_i).square().sum(), chunk_size=rows)(x)
