"""Sparse autoencoder: a code whose units are inactive for most data points.

    z ~ flat                      the code, z in (0, 1)^latent_dim
    x ~ p(x | decoder(z))         the model of autoencoder.py

The guide is the point z = activation(A x + a), a sigmoid unless another activation is chosen. Its factor `sparsity`
adds the penalty

    weight * sum_j KL(rho || rho_hat_j),    KL(r || s) = r log(r / s) + (1 - r) log((1 - r) / (1 - s)),

to -ELBO, in nats per data point. rho_hat_j is the mean of unit j over the minibatch, and rho its target: every unit
should be active for a share rho of the data. This is a KL between two Bernoulli distributions, defined for rho_hat in
(0, 1): hence the sigmoid. A tanh, in (-1, 1), is inactive at -1, and rho_hat is the mean of (1 + z) / 2. A ReLU or
leaky ReLU leaves the domain: a unit that is 0 for a whole minibatch has an infinite penalty, and a mean above 1 or
below 0 has none. A fit then stops, with a message that names the factor.

The weight has a meaning only relative to the unit of the error. Here the squared error is summed over pixels
(scale^2 = 1/2). Weight 3 beside a *mean* squared error over 784 pixels is weight 3 * 784 = 2352 beside the sum. With
weight 2352 the units reach rho before the reconstruction improves: after 5 epochs on grey MNIST the squared error is
49 with sigmoid units, where the mean image has 53, and weight 3 beside the sum has 12. After 20 epochs it is still
about five times as large as with weight 3 (`sparse_autoencoder:mean_error`). `sparse_autoencoder:slides` is the program
of lecture slides: weight 2352, ReLU units, 5 epochs.

The biases of sigmoid and tanh units start where a unit is near rho. With biases of 0 they would start near 1/2. The
penalty would then first lower all of them together, and with them the information that they carry about x.

    >>> import torch
    >>> pair = SparseAutoencoder(data_dim=6, latent_dim=2, rho=0.25)
    >>> pair.encoder(torch.zeros(1, 6)).detach().round(decimals=4)  # units start at rho
    tensor([[0.2500, 0.2500]])

    Ng, Sparse autoencoder, lecture notes CS294A, 2011 (sigmoid units; the penalty beside half of the summed error).
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence

from gallery.models.autoencoder import Autoencoder

__all__ = ["Deep", "SparseAutoencoder"]

Unit = Literal["sigmoid", "tanh", "relu", "leaky_relu"]
UNITS: dict[Unit, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
}


class SparseAutoencoder(Autoencoder):
    """x: (n, data_dim). A penalty draws the mean activation of every unit of the code to rho.

    z: (n, latent_dim), in (0, 1) for a sigmoid, the default, and (-1, 1) for a tanh.

    :param rho: target mean activation of a unit
    :param weight: weight of the penalty, in nats per data point
    :param activation: of a unit: sigmoid; tanh, penalised by (1 + z) / 2; relu or leaky_relu, for which the penalty is
        defined only where the mean of each unit over the minibatch is in (0, 1)
    :raises ValueError: if rho is not strictly between 0 and 1, weight is negative or not finite, or the activation is
        unknown
    """

    capabilities: tuple[str, ...] = ("rho",)

    def __init__(self, *, rho: float = 0.05, weight: float = 3.0, activation: Unit = "sigmoid", **kwargs: Any) -> None:
        if not 0 < rho < 1:
            raise ValueError(f"rho, the target mean of activations in (0, 1), must lie between 0 and 1, not {rho}.")
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight, of the penalty, must be finite and not negative, not {weight}.")
        if activation not in UNITS:
            raise ValueError(f"activation must be one of {', '.join(UNITS)}, not {activation!r}.")
        self.activation = UNITS[activation]  # read by Autoencoder
        super().__init__(**kwargs)
        self.rho, self.weight, self.unit = rho, weight, activation
        start = {"sigmoid": 1.0, "tanh": 0.5}.get(activation)  # (1 + tanh a) / 2 = sigmoid(2 a)
        for layer in self.encoder:
            if isinstance(layer, nn.Linear) and start:
                nn.init.constant_(layer.bias, start * math.log(rho / (1 - rho)))

    def penalty(self, h: Tensor) -> Tensor:
        """Compute sum_j KL(rho || rho_hat_j) of activations h, (n, units): (), in nats.

        It is infinite or not a number where a mean of ReLUs or leaky ReLUs is outside (0, 1).
        """
        rho_hat = h.mean(0)
        if self.unit in ("relu", "leaky_relu"):
            inactive = (1 - self.rho) * ((1 - self.rho) / (1 - rho_hat)).log()
            return (self.rho * (self.rho / rho_hat).log() + inactive).sum()
        if self.unit == "tanh":
            rho_hat = (1 + rho_hat) / 2
        edge = torch.finfo(h.dtype)  # rounding alone reaches 0 or 1
        rho_hat = rho_hat.clamp(edge.tiny, 1 - edge.eps)
        return kl_divergence(dist.Bernoulli(torch.full_like(rho_hat, self.rho)), dist.Bernoulli(rho_hat)).sum()

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        h, penalty = x, x.new_zeros(())
        for layer in self.encoder:  # in ``Deep`` every layer of units is penalised, not only the code
            h = layer(h)
            if isinstance(layer, self.activation):
                penalty = penalty + self.penalty(h)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Delta(h, event_dim=1))  # (n, latent_dim)
            pyro.factor("sparsity", (self.weight * penalty).expand(len(x)), has_rsample=True)  # in a guide, + is a cost


class Deep(SparseAutoencoder):
    """x: (n, data_dim). Several layers of units lead to the code, and every unit of them is penalised.

    z: (n, latent_dim), in (0, 1) for a sigmoid, the default, and (-1, 1) for a tanh.

    :param hidden: widths of the layers between pixels and code; the decoder has them in reverse, with ReLUs
    """

    def __init__(self, *, hidden: Sequence[int] = (256,), **kwargs: Any) -> None:
        self.hidden = tuple(hidden)  # read by Autoencoder
        super().__init__(**kwargs)
