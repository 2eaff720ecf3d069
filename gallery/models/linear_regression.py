"""Bayesian linear regression: a model whose latent variables are global.

    w ~ Normal(0, prior_scale^2 I)            intercept and slopes, w in R^(1 + given_dim)
    x_i ~ Normal(w_0 + w_1: . c_i, noise)     for each covariate vector c_i, passed as `given`

One w serves all data, so it stands outside the plate; with a minibatch only the likelihood is scaled up by
total / len(x), never the prior of w, or every minibatch would bring a prior of its own.

With known noise the posterior is normal in closed form (Bishop, Pattern Recognition and Machine Learning, 2006,
section 3.3):

    p(w | x) = Normal(m, S),    S^-1 = I / prior_scale^2 + C'C / noise^2,    m = S C'x / noise^2.

The guide Normal(m, L L') with a full L contains it. A mean-field guide cannot follow the correlation of intercept
and slope: at its optimum its means are right and its variances are 1 / (S^-1)_jj, which are too small. A Delta
guide is the MAP corner of the same objective: -ELBO is then the sum of squares / (2 noise^2) plus the prior, that
is ridge regression, and least squares as the prior widens.
"""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

__all__ = ["LinearRegression", "MaximumAPosteriori", "MeanField", "UnknownNoise"]


class LinearRegression(nn.Module):
    """x: (n, 1); given: (n, given_dim). The guide is a normal with a full covariance matrix.

    :param given_dim: number of covariates
    :param noise: standard deviation of x given w, known
    :param prior_scale: standard deviation of the prior of w
    """

    capabilities = ("least_squares",)

    def __init__(self, given_dim: int = 1, noise: float = 0.8, prior_scale: float = 10.0):
        super().__init__()
        for name, value in {"noise": noise, "prior_scale": prior_scale}.items():
            if not value > 0:
                raise ValueError(f"{name} is a standard deviation: it is positive, not {value}.")
        self.given_dim, self.dim, self.noise, self.prior_scale = given_dim, 1 + given_dim, noise, prior_scale
        self.q = nn.ParameterDict(self.parameters_of_q())

    def parameters_of_q(self) -> dict[str, Tensor]:
        log_s = torch.full((self.dim,), -3.0)  # narrow: a wide start has steep gradients, and Adam remembers them
        return {"m": torch.zeros(self.dim), "log_s": log_s, "A": torch.zeros(self.dim, self.dim)}

    def design(self, given: Tensor) -> Tensor:
        return torch.cat([torch.ones_like(given[:, :1]), given], dim=1)  # C, (n, dim)

    def prior(self, x: Tensor) -> dist.Distribution:
        eye = torch.eye(self.dim, dtype=x.dtype, device=x.device)
        return dist.MultivariateNormal(x.new_zeros(self.dim), scale_tril=self.prior_scale * eye)

    def noise_scale(self, x: Tensor) -> Tensor:
        return x.new_full((), self.noise)

    def model(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        w = pyro.sample("w", self.prior(x))  # (dim,), with particles (particles, 1, dim)
        noise = self.noise_scale(x).unsqueeze(-1)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            mean = (self.design(given) * w).sum(-1, keepdim=True)  # (n, 1)
            pyro.sample("x", dist.Normal(mean, noise).to_event(1), obs=x)

    def guide(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        pyro.module("q", self.q)
        unit = torch.eye(self.dim, dtype=x.dtype, device=x.device) + self.q["A"].tril(-1)
        L = self.q["log_s"].exp().unsqueeze(-1) * unit  # each row in units of its own scale: one lr fits all entries
        pyro.sample("w", dist.MultivariateNormal(self.q["m"], scale_tril=L))

    def posterior(self, x: Tensor, given: Tensor) -> dist.Distribution:
        """p(w | x), event shape (1 + given_dim,), by conjugacy."""
        C = self.design(given)
        precision = torch.eye(self.dim).to(C) / self.prior_scale**2 + C.T @ C / self.noise**2
        m = torch.linalg.solve(precision, C.T @ x.squeeze(-1) / self.noise**2)
        return dist.MultivariateNormal(m, precision_matrix=precision)

    def log_evidence(self, x: Tensor, given: Tensor) -> Tensor:
        """log p(x_1, ..., x_n) in nats, one number: the data are dependent through w."""
        C = self.design(given)
        marginal = dist.LowRankMultivariateNormal(
            C.new_zeros(len(C)), self.prior_scale * C, C.new_full((len(C),), self.noise**2)
        )
        return marginal.log_prob(x.squeeze(-1))

    def least_squares(self, x: Tensor, given: Tensor) -> Tensor:
        """The w of least squared error, (1 + given_dim,): the MLE of the same model."""
        return torch.linalg.lstsq(self.design(given), x).solution.squeeze(-1)


class MeanField(LinearRegression):
    """x: (n, 1); given: (n, given_dim). The guide's intercept and slopes are independent; the posterior's are not."""

    def parameters_of_q(self) -> dict[str, Tensor]:
        return {"m": torch.zeros(self.dim), "log_s": torch.full((self.dim,), -3.0)}

    def guide(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        pyro.module("q", self.q)
        pyro.sample("w", dist.MultivariateNormal(self.q["m"], scale_tril=self.q["log_s"].exp().diag()))


class MaximumAPosteriori(LinearRegression):
    """x: (n, 1); given: (n, given_dim). The guide is a point: -ELBO is squared error plus -log prior."""

    def parameters_of_q(self) -> dict[str, Tensor]:
        return {"m": torch.zeros(self.dim)}

    def guide(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        pyro.module("q", self.q)
        pyro.sample("w", dist.Delta(self.q["m"], event_dim=1))


class UnknownNoise(LinearRegression):
    """x: (n, 1); given: (n, given_dim). The noise is latent too: noise ~ LogNormal(log `noise`, 1).

    The guide is normal over w, with a full covariance matrix, times log-normal over the noise.
    """

    posterior = log_evidence = None  # no closed form any more

    def parameters_of_q(self) -> dict[str, Tensor]:
        return super().parameters_of_q() | {"log_noise": torch.tensor(self.noise).log(), "log_t": torch.tensor(-1.0)}

    def noise_scale(self, x: Tensor) -> Tensor:
        median = x.new_full((), self.noise)
        return pyro.sample("noise", dist.LogNormal(median.log(), torch.ones_like(median)))

    def guide(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        super().guide(x, given, total)
        pyro.sample("noise", dist.LogNormal(self.q["log_noise"], self.q["log_t"].exp()))
