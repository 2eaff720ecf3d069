"""VAE with two stochastic layers: a code of the code, in model and guide.

    z_2 ~ Normal(0, I)                        the top code, z_2 in R^latent_dim
    z_1 ~ Normal(m(z_2), diag s(z_2)^2)       the code of the image, z_1 in R^middle_dim
    x   ~ p(x | decoder(z_1))                 data_dim pixels, independent given z_1

The guide goes up where the model goes down: q(z_1 | x) q(z_2 | z_1). The exact posterior has the same factors,
p(z_1 | x) p(z_2 | z_1), since x and z_2 are independent given z_1. So the second factor of the guide need not read x;
what is lost is that both factors are diagonal normals.

Over all z_2 the prior of z_1 is a mixture of normals, where that of vae.py is Normal(0, I). The top code may collapse:
where m and s do not depend on z_2, and q(z_2 | z_1) is the prior, this is the model of vae.py, up to one layer of
scales.

The order of the sites is that of each direction, so the KL of z_1 has no closed form: the objective is `trace`.

    >>> import torch
    >>> from pyro import poutine
    >>> pair, x = TwoLayerVAE(data_dim=6, latent_dim=2, hidden=(8,), middle_dim=3, middle_hidden=(4,)), torch.ones(5, 6)
    >>> trace = poutine.trace(pair.guide).get_trace(x)
    >>> trace.nodes["z_1"]["value"].shape, trace.nodes["z_2"]["value"].shape
    (torch.Size([5, 3]), torch.Size([5, 2]))

    Rezende, Mohamed and Wierstra, Stochastic backpropagation and approximate inference in deep generative models, 2014.
    Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016 (the networks).
"""

from collections.abc import Sequence

import pyro
from torch import Tensor, nn

from gallery.models._nn import ACTIVATIONS, Activation, GaussianHead, Likelihood, mlp
from gallery.models.vae import VAE

__all__ = ["TwoLayerVAE"]


class TwoLayerVAE(VAE):
    """x: (n, data_dim); z_1: (n, middle_dim); z_2: (n, latent_dim). Two codes, one above the other.

    >>> import torch
    >>> from inference import evaluate
    >>> pair, x = TwoLayerVAE(data_dim=6, latent_dim=2, hidden=(8,), middle_dim=3, middle_hidden=(4,)), torch.ones(5, 6)
    >>> evaluate(pair, x)["elbo"]["unit"]
    'nats per data point'

    :param latent_dim: length of the top code z_2
    :param hidden: widths of the hidden layers between x and z_1
    :param middle_dim: length of the code z_1
    :param middle_hidden: widths of the hidden layers from z_1 to z_2; from z_2 to z_1 in reverse
    :raises ValueError: as VAE
    """

    def __init__(
        self,
        data_dim: int = 784,
        latent_dim: int = 50,
        hidden: Sequence[int] = (200, 200),
        dropout: float = 0.0,
        likelihood: Likelihood = "bernoulli",
        scale: float | None = None,
        activation: Activation = "tanh",
        middle_dim: int = 100,
        middle_hidden: Sequence[int] = (100, 100),
    ) -> None:
        super().__init__(data_dim, middle_dim, hidden, dropout, likelihood, scale, activation)
        self.latent_dim = latent_dim  # of the prior, which is that of z_2
        unit = ACTIVATIONS[activation]
        self.encoder_2 = nn.Sequential(
            mlp((middle_dim, *middle_hidden), unit, dropout),
            GaussianHead(middle_hidden[-1], latent_dim),
        )
        self.decoder_2 = nn.Sequential(
            mlp((latent_dim, *reversed(middle_hidden)), unit, dropout),
            GaussianHead(middle_hidden[0], middle_dim),
        )

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("decoder_2", self.decoder_2)
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z_2 = pyro.sample("z_2", self.prior(x))  # (n, latent_dim)
            z_1 = pyro.sample("z_1", self.decoder_2(z_2))  # (n, middle_dim)
            pyro.sample("x", self.decoder(z_1), obs=x)  # (n, data_dim)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        pyro.module("encoder_2", self.encoder_2)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z_1 = pyro.sample("z_1", self.encoder(x))
            pyro.sample("z_2", self.encoder_2(z_1))
