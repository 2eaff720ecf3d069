"""Skeleton: one line that states what distinguishes this model.

    z ~ Normal(0, I)                  the code, z in R^latent_dim
    x ~ Bernoulli(decoder(z))         data_dim pixels in {0, 1}, independent given z

The guide is amortised: one network gives q(z | x) = Normal(loc(x), diag scale(x)^2) for every x.

    gallery check skeleton.py:Skeleton
    gallery fit skeleton.py:Skeleton --data digits:threshold --run runs/skeleton
"""

import pyro
import pyro.distributions as dist
import torch.nn.functional as F
from torch import Tensor, nn


class Skeleton(nn.Module):
    """x: (n, data_dim), in {0, 1}; z: (n, latent_dim).

    :param data_dim: number of pixels
    :param latent_dim: length of the code z
    :param hidden: width of the hidden layer of encoder and decoder
    """

    def __init__(self, data_dim: int = 64, latent_dim: int = 5, hidden: int = 128) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.encoder = nn.Sequential(nn.Linear(data_dim, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent_dim))
        self.decoder = nn.Sequential(nn.Linear(latent_dim, hidden), nn.ReLU(), nn.Linear(hidden, data_dim))

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            zero = x.new_zeros(len(x), self.latent_dim)
            z = pyro.sample("z", dist.Normal(zero, zero + 1).to_event(1))  # (n, latent_dim)
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)  # (n, data_dim)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            loc, pre_scale = self.encoder(x).chunk(2, dim=-1)
            pyro.sample("z", dist.Normal(loc, F.softplus(pre_scale)).to_event(1))
