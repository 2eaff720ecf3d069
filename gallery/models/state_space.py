"""Linear Gaussian state space model: a state that moves in time, measured with noise.

    z_1 ~ Normal(m, P),  z_t ~ Normal(A z_{t-1}, Q)     the states, z_t in R^latent_dim, t = 2, ..., T
    x_t ~ Normal(c' z_t, r^2)                           x in R^T, at each step that is observed; the others are masked

P and Q are L L', where the triangular L has the diagonal softplus(...); r = softplus(pre_r). The Kalman filter runs
from the first step to the last: from p(z_t | x_1:t-1) it computes log p(x_t | x_1:t-1), whose sum is log p(x), and then
p(z_t | x_1:t). The posterior is a Markov chain too, with other matrices at each step:

    p(z_t | z_{t-1}, x) = Normal(F_t z_{t-1} + b_t, V_t),   V_t = (Q^-1 + J_t)^-1,   F_t = V_t Q^-1 A,   b_t = V_t h_t.

J_t and h_t are what the data from step t on say of z_t, log p(x_t:T | z_t) = h_t' z_t - z_t' J_t z_t / 2 + constant,
and are computed from the last step to the first. The terms in c stand where x_t is observed, and P and m replace Q and
A z_{t-1} at t = 1:

    J_t = c c' / r^2 + A' J_{t+1} F_{t+1},   h_t = c x_t / r^2 + F_{t+1}' h_{t+1}.

The guide is this chain with parameters phi of the same shapes. It is amortised, with means that are linear in x, and
contains the posterior, at phi = theta, for each length and each pattern of missing steps. Run forward, the chain gives
the moments of the smoother, the statistics of EM.

z is identified up to a linear map: compare the distribution of x, never A or c. `LocalLevel` is a random walk plus
noise: m = 0 and A = c = 1 are fixed, and so is P, at 1e7, which leaves the first level all but free. Its level is
identified, and so are its variances Q and R = r^2.

    >>> import torch
    >>> pair, x = StateSpace(latent_dim=2), torch.randn(20, 5)
    >>> pair.log_evidence(x).shape, pair.posterior(x).event_shape
    (torch.Size([20]), torch.Size([10]))
    >>> before = pair.log_evidence(x).sum()
    >>> pair.m_step(pair.e_step(x))
    >>> bool(pair.log_evidence(x).sum() > before)
    True

    Kalman, A new approach to linear filtering and prediction problems, 1960.
    Rauch, Tung and Striebel, Maximum likelihood estimates of linear dynamic systems, 1965 (the smoother).
    Shumway and Stoffer, An approach to time series smoothing and forecasting using the EM algorithm, 1982.
    Durbin and Koopman, Time series analysis by state space methods, 2012 (the local level model).
"""

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gallery.models._kalman import Matrices, filter_forward, posterior_chain, smooth

__all__ = ["LocalLevel", "StateSpace"]


class StateSpace(nn.Module):
    """x: (n, T), a number at each step, NaN where missing; z_t: (n, latent_dim).

    A and c start as normal draws, A with a standard deviation of 1 / 2 sqrt(latent_dim); m as 0; P and Q nearly as I.

    :param latent_dim: length of each z_t
    :raises ValueError: if latent_dim is below 1
    """

    capabilities: tuple[str, ...] = ("missing_values",)
    missing_values = True

    def __init__(self, latent_dim: int = 2) -> None:
        super().__init__()
        if latent_dim < 1:
            raise ValueError(f"latent_dim must be at least 1, not {latent_dim}.")
        self.latent_dim = latent_dim
        self.theta = nn.ParameterDict(self.parameters_at_start())
        self.phi = nn.ParameterDict(self.parameters_at_start())

    def parameters_at_start(self) -> dict[str, Tensor]:
        """Draw the initial parameters of the model, or of the guide."""
        d = self.latent_dim
        start = {"m": torch.zeros(d), "A": torch.randn(d, d) / (2 * d**0.5), "c": torch.randn(d)}
        return start | {"pre_P": torch.eye(d) / 2, "pre_Q": torch.eye(d) / 2, "pre_r": torch.tensor(0.5)}

    def matrices(self, of: nn.ParameterDict) -> Matrices:
        """Return the matrices of parameters, theta or phi."""
        P_tril, Q_tril = (pre.tril(-1) + F.softplus(pre.diagonal()).diag() for pre in (of["pre_P"], of["pre_Q"]))
        return Matrices(of["m"], P_tril, of["A"], Q_tril, of["c"], F.softplus(of["pre_r"]))

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("theta", self.theta)
        m, tril, A, Q_tril, c, r = self.matrices(self.theta)
        observed, values, mean = ~x.isnan(), x.nan_to_num(), m.expand(len(x), -1)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            for t in range(x.shape[1]):
                z = pyro.sample(f"z_{t + 1}", dist.MultivariateNormal(mean, scale_tril=tril))  # (n, latent_dim)
                pyro.sample(f"x_{t + 1}", dist.Normal(z @ c, r).mask(observed[:, t]), obs=values[:, t])  # (n,)
                mean, tril = z @ A.T, Q_tril

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("phi", self.phi)
        z = x.new_zeros(len(x), self.latent_dim)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            for t, (F_t, b, V) in enumerate(posterior_chain(x, self.matrices(self.phi)), start=1):
                mean = (F_t @ z.unsqueeze(-1)).squeeze(-1) + b
                z = pyro.sample(f"z_{t}", dist.MultivariateNormal(mean, scale_tril=torch.linalg.cholesky(V)))

    def log_evidence(self, x: Tensor) -> Tensor:
        """Compute log p of the observed steps, (n,) in nats."""
        return filter_forward(x, self.matrices(self.theta))[0].sum(1)

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        """Return p(z_1, ..., z_T | x), batch shape (n,), event shape (T latent_dim,)."""
        row, rows, of = x.new_zeros(len(x), self.latent_dim, 0), [], self.matrices(self.theta)
        for F_t, _, V in posterior_chain(x, of):  # z_t in terms of the noise of each step
            row = torch.cat([F_t @ row, torch.linalg.cholesky(V)], -1)
            rows.append(F.pad(row, (0, x.shape[1] * self.latent_dim - row.shape[-1])))
        return dist.MultivariateNormal(smooth(x, of)[0].flatten(1), scale_tril=torch.cat(rows, -2))

    def e_step(self, x: Tensor) -> dict[str, Tensor]:
        """Return the expected sufficient statistics under p(z | x), averaged over data points.

        :return: z and zz of z_1; "before", "after" and "cross", the sums of z_{t-1} z_{t-1}', z_t z_t' and
            z_t z_{t-1}' over the T - 1 "moves"; x^2, x z and z z' over the "observed" steps
        """
        mean, covariance, cross = smooth(x, self.matrices(self.theta))
        zz = covariance + mean.unsqueeze(-1) * mean.unsqueeze(-2)
        moves = cross[:, 1:] + mean[:, 1:].unsqueeze(-1) * mean[:, :-1].unsqueeze(-2)
        observed, values = (~x.isnan()).to(x), x.nan_to_num()
        return {
            "first": mean[:, 0].mean(0),
            "first_square": zz[:, 0].mean(0),
            "before": zz[:, :-1].sum(1).mean(0),
            "after": zz[:, 1:].sum(1).mean(0),
            "cross": moves.sum(1).mean(0),
            "moves": x.new_tensor(x.shape[1] - 1),
            "xx": values.square().sum(1).mean(0),
            "xz": (values.unsqueeze(-1) * mean).sum(1).mean(0),
            "zz": (observed[..., None, None] * zz).sum(1).mean(0),
            "observed": observed.sum(1).mean(0),
        }

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """Set all parameters to the maximisers of the expected log joint density; A and Q stay where T = 1."""
        s = statistics
        c = torch.linalg.solve(s["zz"], s["xz"])
        r = ((s["xx"] - c @ s["xz"]) / s["observed"]).clamp(min=torch.finfo(c.dtype).tiny).sqrt()
        to = {"m": s["first"], "c": c, "pre_P": pre_tril(s["first_square"] - s["first"].outer(s["first"]))}
        if s["moves"] > 0:
            A = torch.linalg.solve(s["before"], s["cross"].T).T
            to |= {"A": A, "pre_Q": pre_tril((s["after"] - A @ s["cross"].T) / s["moves"])}
        with torch.no_grad():
            for name, value in (to | {"pre_r": inverse_softplus(r)}).items():
                self.theta[name].copy_(value)


class LocalLevel(StateSpace):
    """x: (n, T), NaN where missing; z_t: (n, 1). z_1 ~ Normal(0, 1e7), z_t ~ Normal(z_{t-1}, Q), x_t ~ Normal(z_t, R).

    Q and R start as 1e4. Their logarithms are the parameters. The first level is free within some thousands of 0: from
    data of another size, subtract a constant first.
    """

    first_variance = 1e7

    def __init__(self) -> None:
        super().__init__(latent_dim=1)

    def parameters_at_start(self) -> dict[str, Tensor]:
        """Return the initial parameters of the model, or of the guide."""
        return {name: torch.tensor(1e4).log() for name in ("log_Q", "log_R")}

    def matrices(self, of: nn.ParameterDict) -> Matrices:
        """Return the matrices of parameters, theta or phi, of which Q and r alone are free."""
        one = of["log_Q"].new_ones(1, 1)
        Q_tril, r = (of["log_Q"] / 2).exp() * one, (of["log_R"] / 2).exp()
        return Matrices(0 * one[0], self.first_variance**0.5 * one, one, Q_tril, one[0], r)

    def e_step(self, x: Tensor) -> dict[str, Tensor]:
        """Return the expected squares of the noise under p(z | x), averaged over data points.

        They are not differences of the sums that StateSpace has, which cancel where the level is far from 0.

        :return: "noise", the sum of (x_t - z_t)^2 over the "observed" steps; "steps", of (z_t - z_{t-1})^2 over the
            T - 1 "moves"
        """
        mean, covariance, cross = (moment.flatten(2).squeeze(2) for moment in smooth(x, self.matrices(self.theta)))
        observed = (~x.isnan()).to(x)
        steps = mean.diff(dim=1).square() + covariance[:, 1:] + covariance[:, :-1] - 2 * cross[:, 1:]
        return {
            "noise": (observed * ((x.nan_to_num() - mean).square() + covariance)).sum(1).mean(0),
            "observed": observed.sum(1).mean(0),
            "steps": steps.sum(1).mean(0),
            "moves": x.new_tensor(x.shape[1] - 1),
        }

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """Set Q and R to the maximisers of the expected log joint density; Q stays where T = 1."""
        s = {name: value.clamp(min=torch.finfo(value.dtype).tiny) for name, value in statistics.items()}
        with torch.no_grad():
            self.theta["log_R"].copy_((s["noise"] / s["observed"]).log())
            if statistics["moves"] > 0:
                self.theta["log_Q"].copy_((s["steps"] / s["moves"]).log())


def pre_tril(covariance: Tensor) -> Tensor:
    """Return the parameter whose triangular factor is that of a covariance matrix; its variances stay above 1e-6 of
    the greatest."""
    variances, axes = torch.linalg.eigh(covariance)
    tril = torch.linalg.cholesky((axes * variances.clamp(min=1e-6 * variances[-1])) @ axes.T)
    return tril.tril(-1) + inverse_softplus(tril.diagonal()).diag()


def inverse_softplus(value: Tensor) -> Tensor:
    return value + (-(-value).expm1()).log()
