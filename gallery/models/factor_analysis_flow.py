"""Factor analysis with a flow as its guide: the negative control of richer guides.

The exact posterior p(z | x) = Normal(V* x, S*) is normal, and a normal guide with a full covariance contains it. One
autoregressive layer on a diagonal normal contains it too, given a few hidden units: with L L' = S* and D = diag(L),

    z_0 ~ Normal(V* x, D^2),    z = z_0 + m,    m = (L D^-1 - I) (z_0 - V* x),

where m_i depends on x and on the coordinates of z_0 before i only, since L D^-1 has a unit diagonal. Nothing is left to
gain beyond it: where the guide is the posterior, the ELBO is log p(x).

What the flow gains over the diagonal guide it gains at fixed W alone. Its best ELBO is log p(x), and that of the
diagonal guide is log p(x) minus

    (sum_i log P_ii - log det P) / 2,    P = S*^-1 = I + W' Phi^-1 W.

Where W is learnt, the diagonal guide has no gap either: z may be rotated without any change of p(x), and in one
rotation P is diagonal.

    Kingma, Salimans, Jozefowicz, Chen, Sutskever and Welling, Improving variational inference with inverse
    autoregressive flow, 2016 (the guide).
    Lucas, Tucker, Grosse and Norouzi, Don't blame the ELBO! A linear VAE perspective on posterior collapse, 2019 (the
    rotation).
"""

import pyro
import pyro.distributions as dist
from torch import Tensor

from gallery.models._nn import autoregressive_layers
from gallery.models.factor_analysis import DiagonalGuide

__all__ = ["FlowGuide"]


class FlowGuide(DiagonalGuide):
    """x: (n, data_dim); z: (n, latent_dim). The guide is an autoregressive flow on a diagonal normal.

    >>> import torch
    >>> from pyro import poutine
    >>> pair, x = FlowGuide(data_dim=4, latent_dim=2), torch.randn(5, 4)
    >>> poutine.trace(pair.guide).get_trace(x).nodes["z"]["value"].shape
    torch.Size([5, 2])

    :param data_dim: length of x
    :param latent_dim: number of factors
    :param flows: number of layers of the flow
    :param flow_hidden: width of the hidden layer of each layer's network
    :raises ValueError: if flows is not positive, or there is one factor, or more than flow_hidden
    """

    def __init__(self, data_dim: int = 3, latent_dim: int = 2, flows: int = 1, flow_hidden: int = 20) -> None:
        super().__init__(data_dim, latent_dim)
        self.flow = autoregressive_layers(flows, latent_dim, data_dim, flow_hidden)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("phi", self.phi)
        pyro.module("flow", self.flow)
        q = dist.Normal(x @ self.phi["V"].T, self.phi["scale"].abs()).to_event(1)
        layers = [layer.condition(x) for layer in self.flow]  # type: ignore[operator]
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.TransformedDistribution(q, layers))
