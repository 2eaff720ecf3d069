"""Bayesian linear regression: a model whose latent variables are global.

    w ~ Normal(0, prior_scale^2 I)            intercept and slopes, w in R^(1 + given_dim)
    x_i ~ Normal(w_0 + w_1: . c_i, noise)     for each covariate vector c_i, passed as `given`

All data points share one w, so its site stands outside the plate. On a minibatch only the likelihood is scaled, by
total / len(x); the prior of w is not, since it belongs to all the data at once.

With known noise the posterior is normal in closed form (Bishop, Pattern Recognition and Machine Learning, 2006,
section 3.3):

    p(w | x) = Normal(m, S),    S^-1 = I / prior_scale^2 + C'C / noise^2,    m = S C'x / noise^2,

where the rows of C are (1, c_i). The guide Normal(m, L L') with a full triangular L contains it. A mean-field guide
cannot represent the correlation of intercept and slope: at its optimum its means are right, and its variances
1 / (S^-1)_jj are too small. With a Delta guide the same objective is MAP estimation: -ELBO is the sum of squares /
(2 noise^2) minus the log prior. That is ridge regression, and least squares as prior_scale grows.

    >>> import torch
    >>> pair, given = LinearRegression(), torch.linspace(-1, 1, 50).unsqueeze(-1)
    >>> x = 1 + 2 * given
    >>> pair.posterior(x, given).mean.round(decimals=1), pair.least_squares(x, given).round(decimals=1)
    (tensor([1., 2.]), tensor([1., 2.]))
"""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

__all__ = ["LinearRegression", "MaximumAPosteriori", "MeanField", "UnknownNoise"]


class LinearRegression(nn.Module):
    """x: (n, 1); given: (n, given_dim); w: (1 + given_dim,). The guide is a normal with a full covariance matrix.

    >>> import torch
    >>> pair, given = LinearRegression(given_dim=2), torch.randn(5, 2)
    >>> pair.posterior(torch.zeros(5, 1), given).mean.shape, pair.log_evidence(torch.zeros(5, 1), given).shape
    (torch.Size([3]), torch.Size([]))

    :param given_dim: number of covariates
    :param noise: standard deviation of x given w, known
    :param prior_scale: standard deviation of the prior of w
    :raises ValueError: if noise or prior_scale is not positive
    """

    capabilities: tuple[str, ...] = ("least_squares",)

    def __init__(self, given_dim: int = 1, noise: float = 0.8, prior_scale: float = 10.0) -> None:
        super().__init__()
        for name, value in {"noise": noise, "prior_scale": prior_scale}.items():
            if not value > 0:
                raise ValueError(f"{name} is a standard deviation and must be positive, not {value}.")
        self.given_dim, self.dim, self.noise, self.prior_scale = given_dim, 1 + given_dim, noise, prior_scale
        self.q = nn.ParameterDict(self.parameters_of_q())

    def parameters_of_q(self) -> dict[str, Tensor]:
        """Return the initial parameters of the guide."""
        log_s = torch.full((self.dim,), -3.0)  # narrow: a wide start has steep gradients, which stay in Adam's averages
        return {"m": torch.zeros(self.dim), "log_s": log_s, "A": torch.zeros(self.dim, self.dim)}

    def design(self, given: Tensor) -> Tensor:
        """Return C, whose rows are (1, c_i): (n, 1 + given_dim)."""
        return torch.cat([torch.ones_like(given[:, :1]), given], dim=1)

    def prior(self, x: Tensor) -> dist.TorchDistribution:
        """Return p(w), event shape (1 + given_dim,)."""
        eye = torch.eye(self.dim, dtype=x.dtype, device=x.device)
        return dist.MultivariateNormal(x.new_zeros(self.dim), scale_tril=self.prior_scale * eye)

    def noise_scale(self, x: Tensor) -> Tensor:
        """Return the standard deviation of x given w, ()."""
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
        L = self.q["log_s"].exp().unsqueeze(-1) * unit  # each row in units of its scale: one lr fits all entries
        pyro.sample("w", dist.MultivariateNormal(self.q["m"], scale_tril=L))

    def posterior(self, x: Tensor, given: Tensor) -> dist.TorchDistribution:
        """Return p(w | x), event shape (1 + given_dim,), by conjugacy."""
        C = self.design(given)
        precision = torch.eye(self.dim).to(C) / self.prior_scale**2 + C.T @ C / self.noise**2
        m = torch.linalg.solve(precision, C.T @ x.squeeze(-1) / self.noise**2)
        return dist.MultivariateNormal(m, precision_matrix=precision)

    def log_evidence(self, x: Tensor, given: Tensor) -> Tensor:
        """Compute log p(x_1, ..., x_n) in nats, one number: the data points are dependent through w."""
        C = self.design(given)
        marginal = dist.LowRankMultivariateNormal(
            C.new_zeros(len(C)), self.prior_scale * C, C.new_full((len(C),), self.noise**2)
        )
        return marginal.log_prob(x.squeeze(-1))

    def least_squares(self, x: Tensor, given: Tensor) -> Tensor:
        """Return the w of least squared error, (1 + given_dim,): the MLE of the same model."""
        return torch.linalg.lstsq(self.design(given), x).solution.squeeze(-1)


class MeanField(LinearRegression):
    """x: (n, 1); given: (n, given_dim). The guide's intercept and slopes are independent; the posterior's are not.

    w: (1 + given_dim,), normal with a diagonal covariance matrix.
    """

    def parameters_of_q(self) -> dict[str, Tensor]:
        return {"m": torch.zeros(self.dim), "log_s": torch.full((self.dim,), -3.0)}

    def guide(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        pyro.module("q", self.q)
        pyro.sample("w", dist.MultivariateNormal(self.q["m"], scale_tril=self.q["log_s"].exp().diag()))


class MaximumAPosteriori(LinearRegression):
    """x: (n, 1); given: (n, given_dim). The guide is a point: -ELBO is the squared error minus the log prior.

    w: (1 + given_dim,), a Delta. The squared error is divided by 2 noise^2.
    """

    def parameters_of_q(self) -> dict[str, Tensor]:
        return {"m": torch.zeros(self.dim)}

    def guide(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        pyro.module("q", self.q)
        pyro.sample("w", dist.Delta(self.q["m"], event_dim=1))


class UnknownNoise(LinearRegression):
    """x: (n, 1); given: (n, given_dim). The noise is latent too: noise ~ LogNormal(log `noise`, 1).

    w: (1 + given_dim,); noise: (). The guide is a normal over w, with a full covariance matrix, times a log-normal over
    the noise.

    :param noise: median of the prior of the noise
    """

    posterior = log_evidence = None  # type: ignore[assignment]  # no closed form with unknown noise

    def parameters_of_q(self) -> dict[str, Tensor]:
        return super().parameters_of_q() | {"log_noise": torch.tensor(self.noise).log(), "log_t": torch.tensor(-1.0)}

    def noise_scale(self, x: Tensor) -> Tensor:
        median = x.new_full((), self.noise)
        return pyro.sample("noise", dist.LogNormal(median.log(), torch.ones_like(median)))

    def guide(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        super().guide(x, given, total)
        pyro.sample("noise", dist.LogNormal(self.q["log_noise"], self.q["log_t"].exp()))
