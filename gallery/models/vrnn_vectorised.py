"""Vectorised variational recurrent network: the pair of vrnn.py, with one site for all rows while it is trained.

Computing the ELBO needs no draws from the model: all x_t are observed, and z_t and h_t are known once the guide has run
through the rows. So prior and decoder can be evaluated for all n * steps rows in one matrix product each.

In training mode: the guide runs through the rows, and passes z, one site for all rows, and h to the model. h is a site
without density. ELBO and gradient are those of vrnn.py, for the same noise.
In evaluation mode: the pair is that of vrnn.py, with the sites z_1, x_1, z_2, x_2, .... Samples of the model need it,
because each draw of x_t enters the next state.

    >>> import torch
    >>> from pyro import poutine
    >>> pair, x = VectorisedVRNN(data_dim=6, steps=3, latent_dim=2, state_dim=4, hidden=(8,)), torch.ones(5, 6)
    >>> poutine.trace(pair.train().guide).get_trace(x).nodes["z"]["value"].shape  # (n, steps, latent_dim)
    torch.Size([5, 3, 2])
    >>> poutine.trace(pair.eval().guide).get_trace(x).nodes["z_1"]["value"].shape
    torch.Size([5, 2])

    Chung et al., A recurrent latent variable model for sequential data, 2015.
"""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from gallery.models._nn import masked
from gallery.models.vrnn import VRNN

__all__ = ["VectorisedVRNN"]


class VectorisedVRNN(VRNN):
    """x: (n, data_dim), in {0, 1}. VRNN, faster to train.

    In training mode: h: (n, steps, state_dim); z: (n, steps, latent_dim); site x: (n, steps, data_dim / steps).
    In evaluation mode: as VRNN.
    """

    def model(self, x: Tensor, total: int | None = None) -> None:
        if not self.training:
            super().model(x, total)
            return
        self.register_generative()
        rows, within = self.rows(x), self.within(x)
        unset = x.new_full((), torch.nan).expand(*rows.shape[:2], self.state_dim)  # replaced by the guide's h
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            h = pyro.sample("h", _without_density(unset))  # (n, steps, state_dim)
            z = pyro.sample("z", masked(self.prior(h), within).to_event(1))  # (n, steps, latent_dim)
            p = masked(self.decoder(torch.cat([h, z], dim=-1)), within)
            pyro.sample("x", p.to_event(1), obs=rows)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        if not self.training:
            super().guide(x, total)
            return
        h, z, q = zip(*self.infer(x, lambda t, q: q.rsample()), strict=True)
        loc = torch.stack([q_t.base_dist.loc for q_t in q], dim=1)
        scale = torch.stack([q_t.base_dist.scale for q_t in q], dim=1)
        q_z = masked(dist.Normal(loc, scale).to_event(1), self.within(x)).to_event(1)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("h", _without_density(torch.stack(h, dim=1)))
            pyro.sample("z", q_z, obs=torch.stack(z, 1), infer={"is_observed": False})


def _without_density(value: Tensor) -> dist.TorchDistribution:
    return dist.Delta(value, event_dim=2).mask(False)
