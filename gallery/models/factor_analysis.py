"""Factor analysis: the linear-Gaussian autoencoder, where every bound can be compared with the exact evidence.

    z ~ Normal(0, I)                        the factors, z in R^latent_dim
    x ~ Normal(W z, Phi)                    x in R^data_dim, Phi = diag(sigma^2), sigma = softplus(pre_sigma)

Hence log p(x) = log Normal(x; 0, W W' + Phi). The exact posterior is linear in x, with one covariance for every x:

    p(z | x) = Normal(V* x, S*),    S* = (I + W' Phi^-1 W)^-1,    V* = S* W' Phi^-1.

The guide q(z | x) = Normal(V x, L L') with a full triangular L shared by all x contains it. `DiagonalGuide` cannot
represent the posterior correlation of the factors. `FixedVarianceGuide` learns V alone; its gap is the KL of a normal
with the wrong scale. Both steps of EM have a closed form (Rubin and Thayer, EM algorithms for ML factor analysis,
1982). `MissingValues`, in factor_analysis_missing.py, has all of this for data with missing entries.

W and sigma are not identified, and not only up to a rotation of z: with data_dim 3 and latent_dim 2 there are
9 parameters for the 6 entries of a covariance matrix. Compare W W' + Phi, never W.

    >>> import torch
    >>> pair, x = FactorAnalysis(data_dim=3, latent_dim=2), torch.randn(50, 3)
    >>> pair.posterior(x).mean.shape, pair.log_evidence(x).shape
    (torch.Size([50, 2]), torch.Size([50]))
    >>> before = pair.log_evidence(x).sum()
    >>> pair.m_step(pair.e_step(x))
    >>> bool(pair.log_evidence(x).sum() > before)
    True

    Yang Zhi-Han, Training latent variable models with auto-encoding variational Bayes: a tutorial, 2022,
    arXiv 2208.07818 (the data, experiments 1 and 2).
"""

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["DiagonalGuide", "FactorAnalysis", "FixedVarianceGuide"]


class FactorAnalysis(nn.Module):
    """x: (n, data_dim); z: (n, latent_dim). The guide has a full covariance matrix.

    W, pre_sigma and V start as standard normal draws, L as I.

    >>> import torch
    >>> pair, x = FactorAnalysis(data_dim=4, latent_dim=2), torch.randn(5, 4)
    >>> pair.log_evidence(x).shape, pair.posterior(x).covariance_matrix.shape
    (torch.Size([5]), torch.Size([5, 2, 2]))

    :param data_dim: length of x
    :param latent_dim: number of factors
    """

    def __init__(self, data_dim: int = 3, latent_dim: int = 2) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.theta = nn.ParameterDict({"W": torch.randn(data_dim, latent_dim), "pre_sigma": torch.randn(data_dim)})
        self.phi = nn.ParameterDict({"V": torch.randn(latent_dim, data_dim), **self.covariance_parameters()})

    def covariance_parameters(self) -> dict[str, Tensor]:
        """Return the initial parameters of the guide's covariance matrix."""
        return {"L": torch.eye(self.latent_dim)}

    def scale_tril(self) -> Tensor:
        """Return L of q(z | x) = Normal(V x, L L'), (latent_dim, latent_dim)."""
        L = self.phi["L"].tril()
        return L * L.diagonal().sign()  # columns may change sign: L L' stays, and the diagonal is positive

    @property
    def sigma(self) -> Tensor:
        """Standard deviations of the noise, (data_dim,)."""
        return F.softplus(self.theta["pre_sigma"])

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("theta", self.theta)
        eye = torch.eye(self.latent_dim, dtype=x.dtype, device=x.device)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.MultivariateNormal(x.new_zeros(len(x), len(eye)), scale_tril=eye))  # (n, latent)
            pyro.sample("x", dist.Normal(z @ self.theta["W"].T, self.sigma).to_event(1), obs=x)  # (n, data_dim)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("phi", self.phi)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.MultivariateNormal(x @ self.phi["V"].T, scale_tril=self.scale_tril()))

    def log_evidence(self, x: Tensor) -> Tensor:
        """Compute log p(x), (n,) in nats."""
        zero = x.new_zeros(x.shape[1])
        return dist.LowRankMultivariateNormal(zero, self.theta["W"], self.sigma.square()).log_prob(x)

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        """Return p(z | x), batch shape (n,), event shape (latent_dim,)."""
        scaled = self.theta["W"] / self.sigma.square().unsqueeze(-1)  # Phi^-1 W
        precision = torch.eye(self.latent_dim).to(x) + self.theta["W"].T @ scaled
        return dist.MultivariateNormal(torch.linalg.solve(precision, scaled.T @ x.T).T, precision_matrix=precision)

    def e_step(self, x: Tensor) -> dict[str, Tensor]:
        """Return the expected sufficient statistics under p(z | x), averaged over data points.

        :return: xx, the diagonal of x x', (data_dim,); xz, (data_dim, latent_dim); zz, (latent_dim, latent_dim)
        """
        q = self.posterior(x)
        return {
            "xx": x.square().mean(0),
            "xz": x.T @ q.mean / len(x),
            "zz": q.covariance_matrix.mean(0) + q.mean.T @ q.mean / len(x),
        }

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """Set W and sigma to the maximisers of the expected log joint density."""
        W = torch.linalg.solve(statistics["zz"], statistics["xz"].T).T
        variance = statistics["xx"] - (W * statistics["xz"]).sum(-1)
        sigma = variance.clamp(min=torch.finfo(W.dtype).tiny).sqrt()
        with torch.no_grad():
            self.theta["W"].copy_(W)
            self.theta["pre_sigma"].copy_(sigma + (-(-sigma).expm1()).log())  # softplus(pre_sigma) = sigma


class DiagonalGuide(FactorAnalysis):
    """x: (n, data_dim); z: (n, latent_dim). The guide's covariance matrix is diagonal; the posterior's is not.

    :param data_dim: length of x
    :param latent_dim: number of factors
    """

    def covariance_parameters(self) -> dict[str, Tensor]:
        return {"scale": torch.ones(self.latent_dim)}

    def scale_tril(self) -> Tensor:
        return self.phi["scale"].abs().diag()


class FixedVarianceGuide(FactorAnalysis):
    """x: (n, data_dim); z: (n, latent_dim). The guide's covariance matrix is variance * I; only its mean is fitted.

    :param data_dim: length of x
    :param latent_dim: number of factors
    :param variance: variance of every factor under the guide
    :raises ValueError: if variance is not positive
    """

    scale: Tensor

    def __init__(self, data_dim: int = 3, latent_dim: int = 2, variance: float = 0.1) -> None:
        if not variance > 0:
            raise ValueError(f"variance must be positive, not {variance}.")
        super().__init__(data_dim, latent_dim)
        self.register_buffer("scale", torch.tensor(variance).sqrt())

    def covariance_parameters(self) -> dict[str, Tensor]:
        return {}

    def scale_tril(self) -> Tensor:
        return self.scale * torch.eye(self.latent_dim, dtype=self.scale.dtype, device=self.scale.device)
