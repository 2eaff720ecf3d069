"""Contractive autoencoder: a code that moves little when the image does.

    z ~ flat                      the code, z in (0, 1)^latent_dim
    x ~ p(x | decoder(z))         the model of autoencoder.py

The guide is the point z = h(x) = sigmoid(A x + a) and brings a penalty, the factor `contraction`, which adds to -ELBO

    weight * |dh / dx|_F^2,

nats per datum: the expected squared change of the code, per variance, under small isotropic noise on x. The error
needs the code to tell the data apart, the penalty wants it constant: what is left is to move along the data only.
For one sigmoid layer the norm has a closed form, at the cost of the layer itself,

    |dh / dx|_F^2 = sum_j (h_j (1 - h_j))^2 |A_j|^2,    A_j row j of A;

for any other encoder, as in ``Deep``, reverse mode gives the Jacobian exactly, a backward pass for every unit of the
code. Adding noise to the input and comparing codes, as denoising does, only estimates it.

The norm depends on the unit of the code: a small A and a large decoder have a small penalty at the same error (Rifai
et al. tie the two, A' being the decoder's matrix), and equal errors do not take the unit away. So beside the norm at
matched reconstruction error stands that of the whole map from x to its reconstruction, which has no unit to hide in.

    Rifai, Vincent, Muller, Glorot and Bengio, Contractive auto-encoders: explicit invariance during feature
    extraction, 2011.
"""

from collections.abc import Callable, Sequence

import pyro
import pyro.distributions as dist
from torch import Tensor, nn
from torch.func import jacrev, vmap

from gallery.models.autoencoder import Autoencoder

__all__ = ["ContractiveAutoencoder", "Deep", "jacobian_norm"]


def jacobian_norm(f: Callable[[Tensor], Tensor], x: Tensor, rows: int = 100) -> Tensor:
    """|df / dx|_F^2 of f: (d,) -> (m,) at every row of x, (n, d) to (n,), exactly; so many rows at a time."""
    return vmap(lambda x_i: jacrev(f)(x_i).square().sum(), chunk_size=rows)(x)


class ContractiveAutoencoder(Autoencoder):
    """x: (n, data_dim). One sigmoid layer, with the penalty in closed form.

    :param weight: of the penalty, in nats per datum
    """

    activation = nn.Sigmoid

    def __init__(self, *, weight: float = 0.1, **kwargs):
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight, of the penalty, is finite and not negative: it is {weight}.")
        super().__init__(**kwargs)
        self.weight = weight

    def penalty(self, x: Tensor, h: Tensor) -> Tensor:
        """|dh / dx|_F^2 at every row, (n,)."""
        return (h * (1 - h)).square() @ self.encoder[0].weight.square().sum(1)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Delta(self.encoder(x), event_dim=1))  # (n, latent_dim)
            pyro.factor("contraction", self.weight * self.penalty(x, z), has_rsample=True)  # in a guide, + is a cost


class Deep(ContractiveAutoencoder):
    """x: (n, data_dim). Several sigmoid layers lead to the code, with the penalty from their Jacobian.

    :param hidden: widths of the layers between pixels and code; the decoder has them in reverse, with ReLUs
    """

    def __init__(self, *, hidden: Sequence[int] = (256,), **kwargs):
        self.hidden = tuple(hidden)  # read by Autoencoder
        super().__init__(**kwargs)

    def penalty(self, x: Tensor, h: Tensor) -> Tensor:
        return jacobian_norm(self.encoder, x)
