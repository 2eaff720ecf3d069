"""Factor analysis of data with missing values, in closed form.

    z ~ Normal(0, I)
    x_i ~ Normal(w_i' z, sigma_i^2)         for every entry i that is observed; the others are masked

w_i is row i of W. Given z the entries are independent, so one that is missing leaves its factor out of the likelihood,
and log p(x) is that of the observed entries, Normal(0, W_o W_o' + Phi_o). That assumes that entries are missing at
random: which of them are missing may depend on observed values, not on those that are missing. Each observed entry
multiplies the prior by one Gaussian factor in z, an expert, and the posterior is their product:

    p(z | x) = Normal(S b, S),    S = (I + sum_i w_i w_i' / sigma_i^2)^-1,    b = sum_i w_i x_i / sigma_i^2,

with sums over the observed entries. The covariance depends on which entries are observed, and the mean is linear in x
for each of these 2^data_dim patterns. The guide has the same form with other weights, u_i for w_i / sigma_i and v_i for
w_i / sigma_i^2: one set of experts serves all patterns, and contains the posterior of each.

The E step of EM takes expectations of the missing entries and of their squares; the M step is that of complete data.

    Williams, Nash and Nazábal, Autoencoders and probabilistic inference with missing data: An exact solution for the
    factor analysis case, 2018, arXiv 1801.03851.
    Little and Rubin, Statistical analysis with missing data, 2002 (missing at random; EM).
"""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from gallery.models.factor_analysis import FactorAnalysis

__all__ = ["MissingValues"]


class MissingValues(FactorAnalysis):
    """x: (n, data_dim), NaN where missing; z: (n, latent_dim). Missing entries are masked; q is a product of experts.

    q(z | x) = Normal(S b, S) with S^-1 = I + sum_i u_i u_i' and b = sum_i v_i x_i, over the observed entries i. The
    rows u_i of U and the columns v_i of V start as standard normal draws.

    >>> import torch
    >>> pair, x = MissingValues(data_dim=3, latent_dim=2), torch.tensor([[1.0, torch.nan, 2.0], [0.5, 1.0, torch.nan]])
    >>> pair.log_evidence(x).isfinite().all(), pair.posterior(x).covariance_matrix.shape
    (tensor(True), torch.Size([2, 2, 2]))

    :param data_dim: length of x
    :param latent_dim: number of factors
    """

    capabilities: tuple[str, ...] = ("missing_values",)
    missing_values = True

    def covariance_parameters(self) -> dict[str, Tensor]:
        return {"U": torch.randn_like(self.theta["W"])}

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("theta", self.theta)
        observed, eye = ~x.isnan(), torch.eye(self.latent_dim, dtype=x.dtype, device=x.device)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.MultivariateNormal(x.new_zeros(len(x), len(eye)), scale_tril=eye))  # (n, latent)
            of_entries = dist.Normal(z @ self.theta["W"].T, self.sigma).mask(observed)  # (n, data_dim)
            pyro.sample("x", of_entries.to_event(1), obs=x.where(observed, 0.0))

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("phi", self.phi)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", self.product(x, self.phi["U"], self.phi["V"]))

    def product(self, x: Tensor, U: Tensor, V: Tensor) -> dist.TorchDistribution:
        """Return the product of Normal(0, I) and the experts of the observed entries, batch shape (n,).

        :param U: (data_dim, latent_dim), of the precisions u_i u_i'
        :param V: (latent_dim, data_dim), of the means: the precision times the mean is the sum of v_i x_i
        """
        observed, eye = ~x.isnan(), torch.eye(self.latent_dim, dtype=x.dtype, device=x.device)
        precision = eye + (U.T * observed.to(x).unsqueeze(1)) @ U  # (n, latent_dim, latent_dim)
        b = x.where(observed, 0.0) @ V.T  # (n, latent_dim)
        mean = torch.linalg.solve(precision, b.unsqueeze(-1)).squeeze(-1)
        return dist.MultivariateNormal(mean, precision_matrix=precision)

    def log_evidence(self, x: Tensor) -> Tensor:
        """Compute log p of the observed entries, (n,) in nats: log p(x, z) - log p(z | x), at z = 0."""
        observed, zero = ~x.isnan(), x.new_zeros(len(x), self.latent_dim)
        of_entries = dist.Normal(torch.zeros_like(x), self.sigma).mask(observed).to_event(1)
        log_joint = of_entries.log_prob(x.where(observed, 0.0)) + dist.Normal(zero, 1.0).to_event(1).log_prob(zero)
        return log_joint - self.posterior(x).log_prob(zero)

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        """Return p(z | observed entries), batch shape (n,), event shape (latent_dim,)."""
        U = self.theta["W"] / self.sigma.unsqueeze(-1)
        return self.product(x, U, (U / self.sigma.unsqueeze(-1)).T)

    def e_step(self, x: Tensor) -> dict[str, Tensor]:
        """Return the statistics of `FactorAnalysis.e_step`, in expectation over z and the missing entries.

        A missing entry w_i' z + sigma_i e has the mean w_i' E[z], the product E[x_i z'] = w_i' E[z z'], and the square
        w_i' E[z z'] w_i + sigma_i^2.
        """
        q, W, observed = self.posterior(x), self.theta["W"], ~x.isnan()
        zz = q.covariance_matrix + q.mean.unsqueeze(-1) * q.mean.unsqueeze(-2)  # (n, latent_dim, latent_dim)
        of_missing = W @ zz  # E[x_i z'] of each entry, (n, data_dim, latent_dim)
        xx = x.square().where(observed, (of_missing * W).sum(-1) + self.sigma.square())
        xz = (x.unsqueeze(-1) * q.mean.unsqueeze(-2)).where(observed.unsqueeze(-1), of_missing)
        return {"xx": xx.mean(0), "xz": xz.mean(0), "zz": zz.mean(0)}
