"""Bayesian logistic regression: a global latent whose posterior has no closed form, but two coordinates.

    w ~ Normal(0, prior_scale^2 I)                     intercept and slopes, w in R^(1 + given_dim)
    x_i ~ Bernoulli(sigmoid(w_0 + w_1: . c_i))         0 or 1, for each covariate vector c_i, passed as `given`

All data points share one w, so its site stands outside the plate. No prior is conjugate to this likelihood, so that
the posterior is approximated. It is log-concave and, for many data, close to a normal (Bishop, Pattern Recognition and
Machine Learning, 2006, section 4.5); for few it is skewed, and the normal guide with a full covariance falls short of
the evidence by its skewness. In `MeanField` intercept and slope are independent, which costs more.

With one covariate w has two coordinates: Newton's method finds the mode, and evidence and moments are sums over a grid
that is scaled by the curvature there (`GridPosterior` in `_quadrature.py`). With more covariates the pair has no exact
evidence.

    >>> import torch
    >>> pair, given = LogisticRegression(), torch.linspace(-2, 2, 40).unsqueeze(-1)
    >>> x = (given > 0).float()
    >>> pair.posterior(x, given).mean[1].round(decimals=1)  # without the prior the slope would be infinite
    tensor(8.9000)

    Gelman, Carlin, Stern, Dunson, Vehtari and Rubin, Bayesian Data Analysis, 2013, section 3.7.
"""

import math

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gallery.models._quadrature import GridPosterior

__all__ = ["LogisticRegression", "MeanField"]

NEWTON_STEPS, HALVINGS = 30, 12
STEP, LEAST_STEP = 0.5, 0.03  # of the grid, in standard deviations
LOGITS = 0.5  # at most from node to node, since the sigmoid has poles at i pi: an error of some exp(-2 pi^2 / LOGITS)


class LogisticRegression(nn.Module):
    """x: (n, 1) in {0, 1}; given: (n, given_dim); w: (1 + given_dim,). The guide is a normal with a full covariance.

    >>> import torch
    >>> pair, x, given = LogisticRegression(), torch.eye(2)[:, :1], torch.ones(2, 1)
    >>> pair.posterior(x, given).mean.shape, pair.log_evidence(x, given).shape
    (torch.Size([2]), torch.Size([]))

    :param given_dim: number of covariates
    :param prior_scale: standard deviation of the prior of intercept and slopes
    :raises ValueError: if prior_scale is not positive
    """

    def __init__(self, given_dim: int = 1, prior_scale: float = 5.0) -> None:
        super().__init__()
        if not prior_scale > 0:
            raise ValueError(f"prior_scale is a standard deviation and must be positive, not {prior_scale}.")
        self.given_dim, self.dim, self.prior_scale = given_dim, 1 + given_dim, prior_scale
        if self.dim > 2:  # the grid grows with the power of the dimension
            self.posterior = self.log_evidence = None  # type: ignore[assignment, method-assign]
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

    def model(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        w = pyro.sample("w", self.prior(x))  # (dim,), with particles (particles, 1, dim)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            logits = (self.design(given) * w).sum(-1, keepdim=True)  # (n, 1)
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        pyro.module("q", self.q)
        unit = torch.eye(self.dim, dtype=x.dtype, device=x.device) + self.q["A"].tril(-1)
        L = self.q["log_s"].exp().unsqueeze(-1) * unit  # each row in units of its scale: one lr fits all entries
        pyro.sample("w", dist.MultivariateNormal(self.q["m"], scale_tril=L))

    def posterior(self, x: Tensor, given: Tensor) -> GridPosterior:
        """Return p(w | x), event shape (2,), by quadrature; for one covariate."""
        sign, C = 2 * x.squeeze(-1).double() - 1, self.design(given.double())
        constant = self.dim * math.log(self.prior_scale * math.sqrt(2 * math.pi))

        def log_joint(w: Tensor) -> Tensor:  # (m, dim) -> (m,)
            return F.logsigmoid(w @ C.T * sign).sum(-1) - (w / self.prior_scale).square().sum(-1) / 2 - constant

        def precision(w: Tensor) -> Tensor:
            p = (C @ w).sigmoid()
            return (C.T * (p * (1 - p))) @ C + torch.eye(self.dim).to(C) / self.prior_scale**2

        w, lengths = C.new_zeros(self.dim), 0.5 ** torch.arange(HALVINGS + 1).to(C)
        for _ in range(NEWTON_STEPS):  # the best of a step and its halves, or none: log_joint never falls
            gradient = C.T @ (sign * (-sign * (C @ w)).sigmoid()) - w / self.prior_scale**2
            step = torch.linalg.solve(precision(w), gradient)
            tried = torch.cat([w.unsqueeze(0), w + lengths.unsqueeze(-1) * step])
            w = tried[log_joint(tried).argmax()]
        L = torch.linalg.cholesky(torch.linalg.inv(precision(w)))
        widest = max([0.0, *(C @ L).norm(dim=1).tolist()])  # standard deviation of a logit
        step = max(LEAST_STEP, min(STEP, LOGITS / max(widest, LOGITS)))
        return GridPosterior(log_joint, w, L, step, len(C), x.dtype)

    def log_evidence(self, x: Tensor, given: Tensor) -> Tensor:
        """Compute log p(x_1, ..., x_n) in nats, one number, by quadrature; for one covariate."""
        return self.posterior(x, given).log_evidence


class MeanField(LogisticRegression):
    """x: (n, 1) in {0, 1}; given: (n, given_dim). The guide's intercept and slopes are independent.

    w: (1 + given_dim,), normal with a diagonal covariance matrix.
    """

    def parameters_of_q(self) -> dict[str, Tensor]:
        return {"m": torch.zeros(self.dim), "log_s": torch.full((self.dim,), -3.0)}

    def guide(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        pyro.module("q", self.q)
        pyro.sample("w", dist.MultivariateNormal(self.q["m"], scale_tril=self.q["log_s"].exp().diag()))
