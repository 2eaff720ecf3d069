"""Guides with free parameters, of a named family: a distribution for each data point, or one for all.

Latents outside the plate of the data get one distribution, or one for each item of another plate that they stand in.
Latents inside get one for each data point, with parameters (n, ...): there is no network, so nothing is amortised, and
such a guide does not apply to new data. A latent that is not real is the image of real numbers u under Pyro's
`biject_to`.

Pyro's autoguides have these families over all latents of a program at once: a full covariance would make all data
points dependent, every latent is a `Delta` beside an auxiliary draw of them all, and constrained parameters are no
leaves, as torch's optimisers need them. So the families are built here from Pyro's distributions, a site for each
latent. Where both exist a test holds them to the same numbers.

    Kucukelbir, Tran, Ranganath, Gelman and Blei, Automatic differentiation variational inference, 2017.
    Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, 2017 (the flow).
"""

import itertools
import math
from contextlib import nullcontext
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import transforms
from pyro.infer.util import is_validation_enabled
from pyro.nn import DenseNN
from torch import Tensor, nn
from torch.distributions import biject_to, constraints
from torch.distributions.constraints import Constraint

from inference.errors import InferenceError

__all__ = ["FLOW_COUPLINGS", "FreeGuide", "Latent"]

INITIAL_SCALE = 0.1  # of u before the fit, as in Pyro's autoguides
FLOW_COUPLINGS = 4


class Onto(transforms.ComposeTransform):
    """`biject_to` a support, with that support as codomain: torch's has all real numbers if it ends with a shift."""

    def __init__(self, support: Constraint, cache_size: int = 0):
        self.support = support
        super().__init__([biject_to(support)], cache_size)

    @property
    def codomain(self) -> Constraint:  # type: ignore[override]  # torch has both kinds of it
        return self.support

    def with_cache(self, cache_size: int = 1) -> "Onto":
        return Onto(self.support, cache_size)


@dataclass(frozen=True, eq=False)
class Latent:
    """A continuous latent of a model.

    :param local: whether it is inside the plate of the data
    :param support: of its values
    :param shape: of u, for one data point if it is local, and for one item if it stands in another plate
    :param plate: name and size of a plate other than that of the data
    """

    name: str
    local: bool
    support: Constraint
    shape: torch.Size
    plate: tuple[str, int] | None = None

    @property
    def size(self) -> int:
        """The number of coordinates of u."""
        return math.prod(self.shape)

    def is_onto(self, *known: Constraint) -> bool:
        """Return whether the support of every coordinate is one of these."""
        return getattr(self.support, "base_constraint", self.support) in known

    def value(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Compute (value, log |d value / d u|) from u, (..., size)."""
        batch, u, onto = u.shape[:-1], u.reshape((*u.shape[:-1], *self.shape)), biject_to(self.support)
        value = onto(u)
        return value, onto.log_abs_det_jacobian(u, value).reshape((*batch, -1)).sum(-1)

    def unconstrained(self, value: Tensor) -> Tensor:
        """Compute u, (..., size), of a value."""
        u = biject_to(self.support).inv(value)
        return u.reshape((*u.shape[: u.dim() - len(self.shape)], self.size))


class FreeGuide(nn.Module):
    """A guide of a family over these latents; its `forward` is the `guide` of a pair.

    :param family: delta, normal, multivariate, low_rank, flow, or laplace: a point, whose density is that of u
    :param latents: in the order of the model
    :param n: number of data points
    :param like: a tensor with the precision and device of the parameters
    """

    def __init__(self, family: str, latents: list[Latent], n: int, like: Tensor):
        super().__init__()
        self.family, self.latents, self.n = family, latents, n
        self.q, self.nets = nn.ModuleDict(), nn.ModuleDict()
        for i, latent in enumerate(latents):
            d = latent.size
            shape = (n,) * latent.local + (() if latent.plate is None else latent.plate[1:]) + (d,)
            q = {"loc": INITIAL_SCALE * torch.randn(shape).to(like)}  # 0 itself may be a saddle
            if family not in ("delta", "laplace"):
                q["log_scale"] = torch.full_like(q["loc"], math.log(INITIAL_SCALE))
            if family == "multivariate":
                before = [other for other in latents[:i] if other.local <= latent.local and other.plate == latent.plate]
                q |= {f"on_{other.name}": like.new_zeros(*shape, other.size) for other in before}
                q |= {"A": like.new_zeros(*shape, d)} if d > 1 else {}
            elif family == "low_rank" and d > 1:
                rank = round(d**0.5)
                q["W"] = torch.randn(*shape, rank).to(like) / rank**0.5
            elif family == "flow" and d > 1:
                nets = [DenseNN(d // 2, [max(16, 2 * d)], [d - d // 2] * 2, nn.Tanh()) for _ in range(FLOW_COUPLINGS)]
                for parameter in itertools.chain.from_iterable(net.layers[-1].parameters() for net in nets):
                    nn.init.zeros_(parameter)  # every coupling starts as the identity
                self.nets[latent.name] = nn.ModuleList(nets).to(like)
            self.q[latent.name] = nn.ParameterDict(q)

    def forward(self, x: Tensor, *given: Tensor, total: int | None = None) -> None:
        """Run the guide at the rows of the plate.

        :raises InferenceError: if a row has no parameters
        """
        pyro.module("free_guide", self)
        if any(latent.local for latent in self.latents):
            plate = pyro.plate("data", total or len(x), subsample_size=len(x))
            rows = plate.indices
            if is_validation_enabled() and rows.max() >= self.n:
                raise InferenceError(
                    f"the guide has parameters for {self.n} data points, and none for row {rows.max()}."
                )
        of_items = dict.fromkeys(latent.plate for latent in self.latents)
        plates = {plate: pyro.plate(*plate) for plate in of_items if plate is not None}
        drawn: dict[str, Tensor] = {}
        for latent in self.latents:
            q = self._parameters_of(latent)
            if latent.local:
                q = {name: value[rows] for name, value in q.items()}
            for name, u in drawn.items():
                if f"on_{name}" in q:  # the mean of a normal is linear in the preceding latents
                    q["loc"] = q["loc"] + (q[f"on_{name}"] * u.unsqueeze(-2)).sum(-1)
            with plate if latent.local else plates.get(latent.plate or ("", 0), nullcontext()):
                value = pyro.sample(latent.name, self.distribution(latent, q))
            if self.family == "multivariate":
                drawn[latent.name] = latent.unconstrained(value)

    def _parameters_of(self, latent: Latent) -> dict[str, Tensor]:
        return dict(self.q[latent.name].items())  # type: ignore[operator]  # a ParameterDict

    def distribution(self, latent: Latent, q: dict[str, Tensor]) -> dist.TorchDistribution:
        """Return the distribution of a latent, of batch shape (...), from its parameters; "loc" is (..., size)."""
        batch, reals = q["loc"].shape[:-1], len(latent.shape)
        if self.family == "delta":
            point, _ = latent.value(q["loc"])
            return dist.Delta(point, event_dim=point.dim() - len(batch))
        loc = q["loc"].reshape((*batch, *latent.shape))
        parts: list[transforms.Transform] = (
            [] if latent.is_onto(constraints.real) else [Onto(latent.support, 1)]
        )  # caches the u of a draw
        if self.family == "laplace":
            u = dist.Delta(loc, event_dim=reals)
        elif self.family == "normal" or latent.size == 1:
            scale = q["log_scale"].exp().reshape((*q["log_scale"].shape[:-1], *latent.shape))
            if latent.is_onto(constraints.positive, constraints.nonnegative):
                return dist.LogNormal(loc, scale).to_event(reals)
            u = dist.Normal(loc, scale).to_event(reals)
        else:
            u = self._vector_distribution(latent.name, q)
            if reals != 1:
                parts.insert(0, transforms.ReshapeTransform(torch.Size([latent.size]), latent.shape))
        return dist.TransformedDistribution(u, parts) if parts else u

    def _vector_distribution(self, name: str, q: dict[str, Tensor]) -> dist.TorchDistribution:
        """Return the distribution of u as a vector with dependent coordinates."""
        loc, scale = q["loc"], q["log_scale"].exp()
        if self.family == "multivariate":
            unit = torch.eye(loc.shape[-1], dtype=loc.dtype, device=loc.device) + q["A"].tril(-1)
            return dist.MultivariateNormal(loc, scale_tril=scale.unsqueeze(-1) * unit)
        if self.family == "low_rank":
            return dist.LowRankMultivariateNormal(loc, scale.unsqueeze(-1) * q["W"], scale.square())
        parts, backwards = [], torch.arange(loc.shape[-1] - 1, -1, -1, device=loc.device)
        for net in self.nets[name].children():
            coupling = transforms.AffineCoupling(loc.shape[-1] // 2, net)
            coupling._cache_size = 0  # the cache of a draw without gradient would make the score's wrong
            parts += [coupling, transforms.Permute(backwards)]
        return dist.TransformedDistribution(dist.Normal(loc, scale).to_event(1), parts)

    def set_normal(self, m: Tensor, L: Tensor) -> None:
        """Set a multivariate guide to Normal(m, L L') over the concatenated u of all latents, all local or all global.

        :param m: (..., d)
        :param L: (..., d, d) lower triangular
        """
        done: list[Latent] = []
        for latent in self.latents:
            i = sum(other.size for other in done)
            j, q = i + latent.size, self._parameters_of(latent)
            inner, loc = L[..., i:j, i:j], m[..., i:j]
            scale = inner.diagonal(dim1=-2, dim2=-1)
            new = {"log_scale": scale.log(), "A": inner / scale.unsqueeze(-1)}
            if done:
                on = torch.linalg.solve_triangular(L[..., :i, :i], L[..., i:j, :i], upper=False, left=False)
                loc = loc - (on @ m[..., :i].unsqueeze(-1)).squeeze(-1)
                parts = on.split([other.size for other in done], dim=-1)
                new |= {f"on_{other.name}": part for other, part in zip(done, parts, strict=True)}
            with torch.no_grad():
                for name, value in (new | {"loc": loc}).items():
                    if name in q:  # a single coordinate has no A
                        q[name].copy_(value)
            done.append(latent)
