"""Loaded die: the probabilities of a categorical distribution, learnt from throws.

    p ~ Dirichlet(concentration, ..., concentration)     one number for each face: p in the simplex
    x_i ~ Categorical(p)                                 each throw, one-hot: x in {0, 1}^data_dim

One p serves all throws, so it stands outside the plate. The counts c = sum_i x_i are all that matters, and the prior
is conjugate (Gelman et al., Bayesian Data Analysis, 2013, section 3.4):

    p(p | x) = Dirichlet(concentration + c)
    log p(x_1, ..., x_n) = log B(concentration + c) - log B(concentration),    B the multivariate beta function.

A Dirichlet guide contains the posterior; its concentrations are a total times a mean, for the ELBO is far less curved
in the total, which needs a rate of its own (Adam gives each parameter one). `SoftmaxGuide` writes the categorical the
way a network does, by logits: p = softmax(eta, 0) under eta ~ Normal(m, L L'), the last logit pinned at 0 because
softmax does not see a shift. This logistic-normal (Aitchison and Shen, Logistic-normal distributions: some properties
and uses, 1980) is no Dirichlet, but close to one once every face has been seen a few times.
"""

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from pyro.distributions import constraints
from torch import Tensor, nn
from torch.distributions.transforms import Transform

__all__ = ["LoadedDie", "Softmax", "SoftmaxGuide"]


class Softmax(Transform):
    """eta in R^(k-1) -> p = softmax(eta, 0) in the simplex of k faces: a bijection, with |det J| = prod_j p_j."""

    domain, codomain = constraints.real_vector, constraints.simplex
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 1)).softmax(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        return y[..., :-1].log() - y[..., -1:].log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return F.pad(x, (0, 1)).log_softmax(-1).sum(-1)

    def forward_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], shape[-1] + 1)

    def inverse_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], shape[-1] - 1)


class LoadedDie(nn.Module):
    """x: (n, data_dim), one-hot. The guide is a Dirichlet distribution: it contains the exact posterior.

    :param data_dim: number of faces
    :param concentration: of the prior, the same for each face; 1 is the uniform distribution over the simplex
    """

    def __init__(self, data_dim: int = 6, concentration: float = 1.0):
        super().__init__()
        if not concentration > 0:
            raise ValueError(f"concentration is positive, not {concentration}.")
        if data_dim < 2:
            raise ValueError(f"a die has at least 2 faces, not {data_dim}.")
        self.faces, self.concentration = data_dim, concentration
        self.q = nn.ParameterDict(self.parameters_of_q())

    def parameters_of_q(self) -> dict[str, Tensor]:
        return {"logits": torch.zeros(self.faces), "log_total": torch.tensor(float(self.faces)).log()}

    def prior(self, x: Tensor) -> dist.Distribution:
        return dist.Dirichlet(x.new_full((self.faces,), self.concentration))

    def model(self, x: Tensor, total: int | None = None) -> None:
        p = pyro.sample("p", self.prior(x))  # (faces,), with particles (particles, 1, faces)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("x", dist.OneHotCategorical(p), obs=x)  # (n, faces)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("q", self.q)
        log_concentration = self.q["log_total"] + self.q["logits"].log_softmax(0)
        pyro.sample("p", dist.Dirichlet(log_concentration.exp()))

    def posterior(self, x: Tensor) -> dist.Distribution:
        """p(p | x), event shape (data_dim,), by conjugacy."""
        return dist.Dirichlet(self.concentration + x.sum(0))

    def log_evidence(self, x: Tensor) -> Tensor:
        """log p(x_1, ..., x_n) in nats, one number: the throws, in their order, are dependent through p."""

        def log_beta(a: Tensor) -> Tensor:
            return a.lgamma().sum() - a.sum().lgamma()

        return log_beta(self.posterior(x).concentration) - log_beta(self.prior(x).concentration)


class SoftmaxGuide(LoadedDie):
    """x: (n, data_dim), one-hot. The guide is a normal over logits: it comes close to the posterior and is not it."""

    def parameters_of_q(self) -> dict[str, Tensor]:
        k = self.faces - 1
        return {"m": torch.zeros(k), "log_s": torch.full((k,), -1.0), "A": torch.zeros(k, k)}

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("q", self.q)
        unit = torch.eye(self.faces - 1, dtype=x.dtype, device=x.device) + self.q["A"].tril(-1)
        eta = dist.MultivariateNormal(self.q["m"], scale_tril=self.q["log_s"].exp().unsqueeze(-1) * unit)
        pyro.sample("p", dist.TransformedDistribution(eta, [Softmax(cache_size=1)]))
