"""VAE whose guide is an inverse autoregressive flow: the model of vae.py, with a richer approximate posterior.

    z_0 ~ Normal(mu(x), diag sigma(x)^2)             as in vae.py
    z_k = s_k * z_(k-1) + m_k,   k = 1, ..., flows   z = z_flows

Coordinate i of s_k > 0 and of m_k is a function of the coordinates of z_(k-1) before i, and of h(x), the last hidden
layer of the encoder; Pyro keeps log s_k between -5 and 3. So the Jacobian of a layer is triangular, with the diagonal
s_k, and

    log q(z | x) = log Normal(z_0; mu(x), diag sigma(x)^2) - sum_k sum_i log s_ki.

A draw, and the density at that draw, take one pass through each layer. The density at any other z takes one pass for
each coordinate, as in the objectives `reinforce`, `stl` and `dreg`. The order of the coordinates is reversed from layer
to layer.

Coordinates depend on each other given x, and q(z | x) need not be normal. It has no mean in closed form, and so this
VAE has no `encode`; `reconstruct` draws z. The model is that of vae.py. At the start each layer is the identity, and
the pair is that of vae.py, to the weights.

    >>> import torch
    >>> from pyro import poutine
    >>> pair, x = FlowVAE(data_dim=6, latent_dim=2, hidden=(8,)), torch.ones(5, 6)
    >>> q = poutine.trace(pair.guide).get_trace(x).nodes["z"]["fn"]
    >>> len(q.transforms), q.sample().shape
    (2, torch.Size([5, 2]))

    Kingma, Salimans, Jozefowicz, Chen, Sutskever and Welling, Improving variational inference with inverse
    autoregressive flow, 2016.
    Germain, Gregor, Murray and Larochelle, MADE: Masked autoencoder for distribution estimation, 2015 (the networks).
"""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
from torch import Tensor

from gallery.models._nn import ACTIVATIONS, Activation, Likelihood, autoregressive_layers
from gallery.models.vae import VAE

__all__ = ["FlowVAE"]


class FlowVAE(VAE):
    """x: (n, data_dim); z: (n, latent_dim). The guide is an inverse autoregressive flow, conditional on x.

    >>> import torch
    >>> from inference import evaluate
    >>> pair, x = FlowVAE(data_dim=6, latent_dim=2, hidden=(8,)), torch.ones(5, 6)
    >>> evaluate(pair, x)["elbo"]["unit"]
    'nats per data point'

    :param flows: number of layers of the flow
    :param flow_hidden: width of the hidden layer of each layer's network
    :raises ValueError: as VAE; or if flows is not positive, or z has one coordinate, or more than flow_hidden
    """

    def __init__(
        self,
        data_dim: int = 784,
        latent_dim: int = 20,
        hidden: Sequence[int] = (500, 500),
        dropout: float = 0.1,
        likelihood: Likelihood = "bernoulli",
        scale: float | None = None,
        activation: Activation = "relu",
        flows: int = 2,
        flow_hidden: int = 200,
    ) -> None:
        super().__init__(data_dim, latent_dim, hidden, dropout, likelihood, scale, activation)
        self.flow = autoregressive_layers(flows, latent_dim, hidden[-1], flow_hidden, ACTIVATIONS[activation])

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        pyro.module("flow", self.flow)
        hidden, head = self.encoder
        h = hidden(x)  # (n, hidden[-1])
        layers = [layer.condition(h) for layer in self.flow]  # type: ignore[operator]
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.TransformedDistribution(head(h), layers))
