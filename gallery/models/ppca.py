"""Probabilistic PCA: the linear VAE, whose best parameters have a closed form, with the units that collapse.

    z ~ Normal(0, I)                     the code, z in R^latent_dim
    x ~ Normal(W z + m, sigma^2 I)       x in R^data_dim, one noise for all coordinates

Hence log p(x) = log Normal(x; m, W W' + sigma^2 I), and the exact posterior is

    p(z | x) = Normal(M^-1 W' (x - m), sigma^2 M^-1),    M = W' W + sigma^2 I.

Let l_1 >= l_2 >= ... be the eigenvalues of the covariance of the data, and u_j its eigenvectors. The likelihood is
greatest at m = mean of x, at W = U R for any rotation R, where column j of U is sqrt(max(l_j - sigma^2, 0)) u_j, and at
sigma^2 = the mean of the eigenvalues after the first latent_dim (`maximum_likelihood`).

The guide q(z | x) = Normal(V x + c, diag(s^2)) is linear with a diagonal covariance: together they are the linear VAE.
It contains the posterior where M is diagonal, that is where the columns of W are orthogonal. So its ELBO has the same
maximum, without the rotation: the columns of W are principal directions. It has no other local maximum.

Unit j is dead (it has collapsed) where l_j <= sigma^2: then w_j = 0, its posterior is the prior, and its KL is 0. No
optimiser can revive it, since the likelihood itself is greatest there. The best sigma^2 is at most l_latent_dim, so
that no unit is dead where sigma is learnt. A fixed `sigma` decides how many live.

    >>> import torch
    >>> x = torch.randn(200, 3) * torch.tensor([3.0, 2.0, 0.5])
    >>> for sigma in (0.1, 1.0, 2.5):
    ...     _, W, _ = maximum_likelihood(x, latent_dim=2, sigma=sigma)
    ...     int(W.any(0).sum())  # units that live
    2
    2
    1

    Tipping and Bishop, Probabilistic principal component analysis, 1999 (the closed form, and EM).
    Lucas, Tucker, Grosse and Norouzi, Don't blame the ELBO! A linear VAE perspective on posterior collapse, 2019.
"""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

__all__ = ["PPCA", "maximum_likelihood", "set_optimum"]


class PPCA(nn.Module):
    """x: (n, data_dim); z: (n, latent_dim).

    W and V start as normal draws of variance 1 / data_dim.

    >>> import torch
    >>> pair, x = PPCA(data_dim=4, latent_dim=2), torch.randn(5, 4)
    >>> pair.log_evidence(x).shape, pair.posterior(x).mean.shape
    (torch.Size([5]), torch.Size([5, 2]))

    :param data_dim: length of x
    :param latent_dim: number of units of the code z
    :param sigma: standard deviation of the noise; learned if None
    :raises ValueError: if sigma is not positive
    """

    fixed: Tensor

    def __init__(
        self,
        data_dim: int = 64,
        latent_dim: int = 10,
        sigma: float | None = None,
    ) -> None:
        super().__init__()
        if sigma is not None and not sigma > 0:
            raise ValueError(f"sigma must be positive, not {sigma}.")
        self.latent_dim = latent_dim
        W = torch.randn(data_dim, latent_dim) / data_dim**0.5
        V = torch.randn(latent_dim, data_dim) / data_dim**0.5
        zero = torch.zeros(latent_dim)
        self.theta = nn.ParameterDict({"W": W, "m": torch.zeros(data_dim)})
        self.phi = nn.ParameterDict({"V": V, "c": zero, "log_s": zero.clone()})
        if sigma is None:
            self.theta["log_sigma"] = torch.zeros(())
        else:
            self.register_buffer("fixed", torch.tensor(float(sigma)))

    @property
    def sigma(self) -> Tensor:
        """Standard deviation of the noise, ()."""
        learnt = "log_sigma" in self.theta
        return self.theta["log_sigma"].exp() if learnt else self.fixed

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("theta", self.theta)
        zero = x.new_zeros(len(x), self.latent_dim)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(zero, 1.0).to_event(1))
            mean = z @ self.theta["W"].T + self.theta["m"]  # (n, data_dim)
            pyro.sample("x", dist.Normal(mean, self.sigma).to_event(1), obs=x)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("phi", self.phi)
        mean = x @ self.phi["V"].T + self.phi["c"]  # (n, latent_dim)
        q = dist.Normal(mean, self.phi["log_s"].exp()).to_event(1)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", q)

    def log_evidence(self, x: Tensor) -> Tensor:
        """Compute log p(x), (n,) in nats."""
        m, W = self.theta["m"], self.theta["W"]
        noise = self.sigma.square().expand(len(m))
        return dist.LowRankMultivariateNormal(m, W, noise).log_prob(x)

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        """Return p(z | x), batch shape (n,), event shape (latent_dim,)."""
        W, variance = self.theta["W"], self.sigma.square()
        eye = torch.eye(self.latent_dim, dtype=W.dtype, device=W.device)
        M = W.T @ W + variance * eye
        mean = torch.linalg.solve(M, W.T @ (x - self.theta["m"]).T).T
        return dist.MultivariateNormal(mean, precision_matrix=M / variance)

    def e_step(self, x: Tensor) -> dict[str, Tensor]:
        """Return the expected sufficient statistics under p(z | x).

        All are means over data points.

        :return: x, (data_dim,); xx, of |x|^2, (); z, (latent_dim,);
            xz, (data_dim, latent_dim); zz, (latent_dim, latent_dim)
        """
        q = self.posterior(x)
        return {
            "x": x.mean(0),
            "xx": x.square().sum(1).mean(),
            "z": q.mean.mean(0),
            "xz": x.T @ q.mean / len(x),
            "zz": q.covariance_matrix.mean(0) + q.mean.T @ q.mean / len(x),
        }

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """Maximise the expected log joint density.

        That is a regression of x on z.
        """
        x, z = statistics["x"], statistics["z"]
        xz = statistics["xz"] - x.outer(z)  # covariances
        zz = statistics["zz"] - z.outer(z)
        W = torch.linalg.solve(zz, xz.T).T
        rest = statistics["xx"] - x.square().sum() - (W * xz).sum()
        variance = (rest / len(x)).clamp(min=torch.finfo(W.dtype).tiny)
        _set(self.theta, W=W, m=x - W @ z, log_sigma=variance.log() / 2)


def maximum_likelihood(x: Tensor, latent_dim: int, sigma: float | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return m, (data_dim,), W, (data_dim, latent_dim), and sigma, (), of greatest likelihood, with R = I.

    :param x: the data, (n, data_dim)
    :param sigma: the noise; the best one if None
    :raises ValueError: if the best sigma is 0, with infinite likelihood
    """
    covariance = torch.cov(x.T, correction=0)
    eigenvalues, u = (of.flip(-1) for of in torch.linalg.eigh(covariance))
    kept, rest = eigenvalues[:latent_dim], eigenvalues[latent_dim:]
    if sigma is None and not rest.sum() > 1e-12 * eigenvalues.sum():
        raise ValueError(
            f"{latent_dim} units leave no noise in these {x.shape[1]} coordinates:"
            " the likelihood is infinite. Fix sigma, or use fewer units."
        )
    variance = rest.mean() if sigma is None else x.new_tensor(sigma**2)
    spread = (kept - variance).clamp(min=0).sqrt()
    return x.mean(0), u[:, : len(kept)] * spread, variance.sqrt()


def set_optimum(pair: PPCA, x: Tensor) -> None:
    """Set model and guide to the maximum of the ELBO of the data x, (n, data_dim)."""
    fixed = None if "log_sigma" in pair.theta else pair.fixed.item()
    m, W, sigma = maximum_likelihood(x, pair.latent_dim, fixed)
    M = W.square().sum(0) + sigma.square()  # the diagonal
    V = (W / M).T
    _set(pair.theta, W=W, m=m, log_sigma=sigma.log())
    _set(pair.phi, V=V, c=-V @ m, log_s=(sigma.square() / M).log() / 2)


def _set(parameters: nn.ParameterDict, **values: Tensor) -> None:
    """Set the parameters of these names, where there are such."""
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(values[name])
