"""Sparse autoencoder: a code whose units are silent for most data.

    z ~ flat                      the code, z in (0, 1)^latent_dim
    x ~ p(x | decoder(z))         the model of autoencoder.py

The guide is the point z = sigmoid(A x + a) and brings a penalty, the factor `sparsity`, which adds to -ELBO

    weight * sum_j KL(rho || rho_hat_j),    KL(r || s) = r log(r / s) + (1 - r) log((1 - r) / (1 - s)),

nats per datum, where rho_hat_j is the mean of unit j over the minibatch: every unit is to be active in a share rho of
the data. That is a KL between two coins, so activations have to lie in (0, 1): hence the sigmoid. The slides have a
ReLU, under which rho_hat may exceed 1, where the penalty is not defined, and be 0, where it is infinite.

The weight means nothing without the unit of the error it stands beside: here the squared error is summed over pixels
(scale^2 = 1/2). The slides put weight 3 beside a *mean* squared error, which is 3 data_dim = 2352 beside the sum: then
the units reach rho first of all, by not looking at x. After 5 epochs on grey MNIST the squared error is 49, that of
the mean image 53, and 12 at weight 3 beside the sum. Later they do look, and the error stays some five times that of
weight 3 beside the sum: the recipe `sparse_autoencoder:slides` has 20 epochs of it.

The biases start at log(rho / (1 - rho)), so that the units start at rho. From 1/2, where sigmoids start otherwise, the
penalty would first drive all of them down at once, and what they tell of x with them.

    Ng, Sparse autoencoder, lecture notes CS294A, 2011 (weight 3, rho 0.05, beside a sum over pixels).
"""

import math
from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence

from gallery.models.autoencoder import Autoencoder

__all__ = ["Deep", "SparseAutoencoder"]


class SparseAutoencoder(Autoencoder):
    """x: (n, data_dim). The mean activation of every unit of the code is drawn to rho.

    :param rho: wanted mean activation of a unit
    :param weight: of the penalty, in nats per datum
    """

    capabilities = ("rho",)

    activation = nn.Sigmoid

    def __init__(self, *, rho: float = 0.05, weight: float = 3.0, **kwargs):
        if not 0 < rho < 1:
            raise ValueError(f"rho is the mean of activations in (0, 1): it lies between 0 and 1 and is {rho}.")
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight, of the penalty, is finite and not negative: it is {weight}.")
        super().__init__(**kwargs)
        self.rho, self.weight = rho, weight
        for layer in self.encoder:
            if isinstance(layer, nn.Linear):
                nn.init.constant_(layer.bias, math.log(rho / (1 - rho)))

    def penalty(self, h: Tensor) -> Tensor:
        """sum_j KL(rho || rho_hat_j) of activations (n, units), in nats: ()."""
        edge = torch.finfo(h.dtype)
        rho_hat = h.mean(0).clamp(edge.tiny, 1 - edge.eps)
        return kl_divergence(dist.Bernoulli(torch.full_like(rho_hat, self.rho)), dist.Bernoulli(rho_hat)).sum()

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        h, penalty = x, x.new_zeros(())
        for layer in self.encoder:  # the code's, and in ``Deep`` those before it
            h = layer(h)
            if isinstance(layer, nn.Sigmoid):
                penalty = penalty + self.penalty(h)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Delta(h, event_dim=1))  # (n, latent_dim)
            pyro.factor("sparsity", (self.weight * penalty).expand(len(x)), has_rsample=True)  # in a guide, + is a cost


class Deep(SparseAutoencoder):
    """x: (n, data_dim). Several sigmoid layers lead to the code, and every unit of them is penalised.

    :param hidden: widths of the layers between pixels and code; the decoder has them in reverse, with ReLUs
    """

    def __init__(self, *, hidden: Sequence[int] = (256,), **kwargs):
        self.hidden = tuple(hidden)  # read by Autoencoder
        super().__init__(**kwargs)
