"""Loaded die: the probabilities of a categorical distribution, learnt from throws.

    p ~ Dirichlet(concentration, ..., concentration)     one probability per face: p in the simplex
    x_i ~ Categorical(p)                                 each throw, one-hot: x in {0, 1}^data_dim

All throws share one p, so its site stands outside the plate. The counts c = sum_i x_i are sufficient statistics, and
the prior is conjugate (Gelman et al., Bayesian Data Analysis, 2013, section 3.4):

    p(p | x) = Dirichlet(concentration + c)
    log p(x_1, ..., x_n) = log B(concentration + c) - log B(concentration),    B the multivariate beta function.

A Dirichlet guide contains the posterior. Its concentrations are parametrised as a total times a mean. The ELBO is far
less curved in the total than in the mean, so the two need steps of different size, which Adam provides.

`SoftmaxGuide` parametrises the probabilities by logits, as a network does: p = softmax(eta, 0) under
eta ~ Normal(m, L L'). The last logit is pinned at 0 because softmax is invariant to a shift. This logistic-normal
(Aitchison and Shen, Logistic-normal distributions: some properties and uses, 1980) is not a Dirichlet, but close to
one once every face has occurred a few times.

    >>> import torch
    >>> pair, x = LoadedDie(data_dim=3), torch.eye(3)[[0, 0, 2]]
    >>> pair.posterior(x).concentration
    tensor([3., 1., 2.])
    >>> round(pair.log_evidence(x).exp().item(), 4)  # 2! 0! 1! / (3 * 4 * 5)
    0.0333
"""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from gallery.models._distributions import Softmax

__all__ = ["LoadedDie", "SoftmaxGuide"]


class LoadedDie(nn.Module):
    """x: (n, data_dim), one-hot; p: (data_dim,). The guide is a Dirichlet: it contains the exact posterior.

    :param data_dim: number of faces
    :param concentration: of the prior, the same for each face; 1 is the uniform distribution over the simplex
    :raises ValueError: if concentration is not positive or data_dim is below 2
    """

    def __init__(self, data_dim: int = 6, concentration: float = 1.0) -> None:
        super().__init__()
        if not concentration > 0:
            raise ValueError(f"concentration must be positive, not {concentration}.")
        if data_dim < 2:
            raise ValueError(f"data_dim must be at least 2 faces, not {data_dim}.")
        self.faces, self.concentration = data_dim, concentration
        self.q = nn.ParameterDict(self.parameters_of_q())

    def parameters_of_q(self) -> dict[str, Tensor]:
        """Return the initial parameters of the guide."""
        return {"logits": torch.zeros(self.faces), "log_total": torch.tensor(float(self.faces)).log()}

    def prior(self, x: Tensor) -> dist.TorchDistribution:
        """Return p(p), event shape (data_dim,)."""
        return dist.Dirichlet(x.new_full((self.faces,), self.concentration))

    def model(self, x: Tensor, total: int | None = None) -> None:
        p = pyro.sample("p", self.prior(x))  # (faces,), with particles (particles, 1, faces)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("x", dist.OneHotCategorical(p), obs=x)  # (n, faces)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("q", self.q)
        log_concentration = self.q["log_total"] + self.q["logits"].log_softmax(0)
        pyro.sample("p", dist.Dirichlet(log_concentration.exp()))

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        """Return p(p | x), event shape (data_dim,), by conjugacy."""
        return dist.Dirichlet(self.concentration + x.sum(0))

    def log_evidence(self, x: Tensor) -> Tensor:
        """Compute log p(x_1, ..., x_n) in nats, one number for the ordered throws: they are dependent through p."""

        def log_beta(a: Tensor) -> Tensor:
            return a.lgamma().sum() - a.sum().lgamma()

        return log_beta(self.posterior(x).concentration) - log_beta(self.prior(x).concentration)


class SoftmaxGuide(LoadedDie):
    """x: (n, data_dim), one-hot. The guide is a logistic-normal: it approximates the Dirichlet posterior.

    p: (data_dim,), the softmax of data_dim - 1 normal logits with a full covariance matrix.
    """

    def parameters_of_q(self) -> dict[str, Tensor]:
        k = self.faces - 1
        return {"m": torch.zeros(k), "log_s": torch.full((k,), -1.0), "A": torch.zeros(k, k)}

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("q", self.q)
        unit = torch.eye(self.faces - 1, dtype=x.dtype, device=x.device) + self.q["A"].tril(-1)
        eta = dist.MultivariateNormal(self.q["m"], scale_tril=self.q["log_s"].exp().unsqueeze(-1) * unit)
        pyro.sample("p", dist.TransformedDistribution(eta, [Softmax(cache_size=1)]))
