"""A mixture of normals that is scored by products of matrices: the prior of `vae_vamp_prior`."""

import math
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor

__all__ = ["NormalMixture"]


class NormalMixture(dist.TorchDistribution):
    """1/K sum_k Normal(m_k, diag s_k^2), the mean of K normals: event (d,), one mixture for the whole batch.

    Pyro's mixtures score z, (n, d), in arrays (n, K, d). Here sum_j (z_j - m_kj)^2 / s_kj^2 is multiplied out, and what
    is left are products of matrices of z and of its square, (n, K). That is done in float64 for any precision of z,
    where the difference of large squares keeps the digits of float32, to |m| / s of 10^4 or so.

    >>> NormalMixture(torch.zeros(7, 2), torch.ones(7, 2)).expand([5]).log_prob(torch.zeros(5, 2)).shape
    torch.Size([5])

    :param loc: means, (K, d)
    :param scale: standard deviations, (K, d)
    """

    arg_constraints = {
        "loc": constraints.independent(constraints.real, 2),
        "scale": constraints.independent(constraints.positive, 2),
    }
    support = constraints.real_vector

    def __init__(self, loc: Tensor, scale: Tensor, validate_args: bool | None = None) -> None:
        self.loc, self.scale = loc, scale
        super().__init__(torch.Size(), loc.shape[1:], validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: "NormalMixture | None" = None) -> "NormalMixture":
        new = self._get_checked_instance(NormalMixture, _instance)
        new.loc, new.scale = self.loc, self.scale
        super(NormalMixture, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            k = torch.randint(len(self.loc), shape[:-1], device=self.loc.device)
            return torch.normal(self.loc[k], self.scale[k])

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        z, m, s = value.double(), self.loc.double(), self.scale.double()
        weight = s**-2
        squares = z.square() @ weight.T - 2 * z @ (m * weight).T + (m.square() * weight).sum(1)  # (..., K)
        log_norm = s.log().sum(1) + 0.5 * math.log(2 * math.pi) * s.shape[1] + math.log(len(s))
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        return (-0.5 * squares.clamp(min=0) - log_norm).logsumexp(-1).to(value).expand(shape)

    @property
    def mean(self) -> Tensor:
        return self.loc.mean(0).expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        centred = self.loc - self.loc.mean(0)
        return (self.scale.square() + centred.square()).mean(0).expand(self._extended_shape())
